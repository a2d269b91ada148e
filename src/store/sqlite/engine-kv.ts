import type { Kv, KvBatch } from '../kv.ts';
import { CompactedError, StoreError } from '../store-error.ts';
import type { Engine } from './engine.ts';
import { type Now, nowOf } from './now.ts';
import { type RetryDeps, retryBusy } from './retry-busy.ts';

/** How soon a watcher sees a change, and at most how long after its deadline a lease ends while anybody watches. */
const POLL_MS = 200;

/** How often a watcher with nothing to see is told that it is up to date. */
const CONFIRM_MS = 5_000;

interface EngineKvDeps extends RetryDeps {
  readonly bootId: string;
  /** Frees the database. Called once. */
  readonly release: () => void;
}

/**
 * The key-value contract over an engine: its time, its waits and its end.
 * @param current the engine to use now; another one than before where the store was replaced by a new one
 */
export function engineKv(label: string, current: () => Engine, deps: EngineKvDeps): Kv {
  const { clock, random, bootId, release } = deps;
  const closing = new AbortController();

  const call = <T>(signal: AbortSignal, action: string, work: (engine: Engine, now: Now) => T): Promise<T> =>
    retryBusy(deps, signal, `${action} ${label}`, () => {
      closing.signal.throwIfAborted();
      return work(current(), nowOf(clock, bootId));
    });

  const watch = async function* (from: string, signal: AbortSignal): AsyncGenerator<KvBatch, void, undefined> {
    let revision = from;
    let watched: Engine | undefined;
    let confirmedMs = clock.monotonicMs();
    // One signal for both ends of the wait; its listeners go when the watch does.
    const ending = new AbortController();
    const onAbort = () => ending.abort(signal.reason);
    const onClose = () => ending.abort(closing.signal.reason);
    signal.addEventListener('abort', onAbort);
    closing.signal.addEventListener('abort', onClose);
    try {
      for (;;) {
        const batches = await call(signal, 'watch', (engine, now) => {
          watched ??= engine;
          // Its revisions count from one again: what follows `revision` there is not what followed it here.
          if (engine !== watched) throw new CompactedError(`watch ${label}: the store was replaced by a new one`);
          return engine.changesAfter(now, revision);
        });
        for (const batch of batches) {
          yield batch;
          signal.throwIfAborted();
          revision = batch.revision;
          confirmedMs = clock.monotonicMs();
        }
        if (batches.length > 0) continue;
        if (clock.monotonicMs() - confirmedMs >= CONFIRM_MS) {
          confirmedMs = clock.monotonicMs();
          yield { revision, events: [] };
        }
        await clock.sleep(POLL_MS, ending.signal);
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      closing.signal.removeEventListener('abort', onClose);
    }
  };

  return {
    label,
    id: (signal) => call(signal, 'identify', (engine) => engine.id()),
    grant: (ttlMs, signal) => {
      // Drawn, not counted: a lease of a store that was deleted and made anew is never taken for one of the new store.
      const id = 1 + Math.floor(random() * (2 ** 53 - 1));
      return call(signal, 'grant a lease of', (engine, now) => {
        engine.grant(now, ttlMs, id);
        return { lease: String(id), ttlMs };
      });
    },
    keepAlive: (lease, signal) => call(signal, 'renew a lease of', (engine, now) => engine.keepAlive(now, lease)),
    remaining: (leases, signal) => call(signal, 'ask for leases of', (engine, now) => engine.remaining(now, leases)),
    releaseEmpty: (lease, signal) =>
      call(signal, 'release a lease of', (engine, now) => engine.releaseEmpty(now, lease)),
    range: (query, signal) => call(signal, 'read', (engine, now) => engine.range(now, query)),
    txn: (txn, signal) => call(signal, 'write to', (engine, now) => engine.txn(now, txn)),
    watch,
    close: async () => {
      if (closing.signal.aborted) return;
      closing.abort(new StoreError(`${label} is closed`, { retryable: false }));
      release();
    },
  };
}
