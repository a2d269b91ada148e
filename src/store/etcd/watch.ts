import type { Clock } from '../../lib/clock.ts';
import { CompactedError } from '../errors.ts';
import type { Kv, KvBatch } from '../kv.ts';
import type { Gateway } from './client.ts';
import { type EtcdContext, JunkAnswerError, judge, replaced } from './errors.ts';
import { type Proof, proveFresh, type WatchProgress, type Witness } from './freshness.ts';
import { openWatchStream, regroup, type WatchAnswer, type WatchStream } from './watch-stream.ts';

/** Brings several sources into one order of arrival. Each source puts again only after its last item was taken. */
interface Inbox<T> {
  readonly put: (item: T) => void;
  /** The oldest item; waits for one. Only one taker at a time. */
  take(): Promise<T>;
}

/** Used in place of `Promise.race`, which leaves a reaction behind at the slower promise each time: a leak in a watch of days. */
export function inbox<T>(): Inbox<T> {
  const items: T[] = [];
  let wake = () => {};
  return {
    put: (item) => {
      items.push(item);
      wake();
    },
    take: async () => {
      for (;;) {
        const item = items.shift();
        if (item !== undefined) return item;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

/** With what a proof takes, a confirmation comes within the ten seconds that the contract gives. */
const CONFIRM_EVERY_MS = 5_000;
/** The same after a proof that made etcd look at all our keys: others write to it, so the next one will, too. */
const CONFIRM_LATER_MS = 8_000;

interface WatchDeps {
  readonly clock: Clock;
  readonly context: EtcdContext;
  readonly witness: Witness;
}

type Turn =
  | { readonly kind: 'answer'; readonly answer: WatchAnswer | null }
  | { readonly kind: 'proof'; readonly proof: Proof }
  | { readonly kind: 'failed'; readonly error: unknown };

/**
 * One stream, and no second one: it throws a retryable `StoreError` when that ends, fails or falls silent, and the
 * caller watches again from the last revision it has, which then starts at another endpoint. What was confirmed but
 * not received is never skipped: a confirmation repeats the revision of the last event.
 */
export function etcdWatch(gateway: Gateway, { clock, context, witness }: WatchDeps): Kv['watch'] {
  return async function* watch(revision, signal): AsyncGenerator<KvBatch, void, void> {
    const stream = await openWatchStream(gateway, context.root, revision, signal);
    const progress: WatchProgress = { received: BigInt(revision), same: BigInt(revision) };
    // At most one answer and one proof are ever under way: that bounds what is read ahead of a slow consumer.
    const turns = inbox<Turn>();
    const report = (work: Promise<Turn>) => work.catch((error): Turn => ({ kind: 'failed', error })).then(turns.put);
    const read = () => report(stream.next().then((answer) => ({ kind: 'answer', answer })));
    const prove = async (delayMs: number): Promise<Turn> => {
      await clock.sleep(delayMs, stream.signal);
      return { kind: 'proof', proof: await proveFresh(gateway, context.root, stream, progress, clock) };
    };
    let held: Parameters<typeof regroup>[0] = [];
    try {
      if (!(await isSameStore(gateway, stream, witness, revision))) {
        witness.refute();
        throw replaced(stream.endpoint.url);
      }
      read();
      report(prove(0));
      for (;;) {
        const turn = await turns.take();
        signal.throwIfAborted();
        if (turn.kind === 'failed') throw turn.error;
        if (turn.kind === 'proof') {
          const step = judgeProof(turn.proof, progress);
          if (step === 'confirm') yield { revision: String(progress.received), events: [] };
          report(prove(step === 'again' ? 0 : turn.proof.scanned ? CONFIRM_LATER_MS : CONFIRM_EVERY_MS));
          continue;
        }
        const { answer } = turn;
        if (answer === null) throw new Error('the watch ended');
        read();
        if (answer.kind === 'compacted') throw compacted(stream.endpoint.url, revision, answer.compactRevision);
        if (answer.kind === 'progress') advance(progress, BigInt(answer.revision));
        if (answer.kind !== 'events') continue;
        // What a change replaced is what the past is told from: taken for nothing, a loss or a deletion would be none.
        if (answer.lacksPrevious) throw overtaken(stream.endpoint.url, progress.received);
        const regrouped = regroup(held, answer.events, answer.partial);
        held = regrouped.held;
        for (const batch of regrouped.batches) {
          if (BigInt(batch.revision) <= progress.received) {
            throw new JunkAnswerError(`the watch sent revision ${batch.revision} after ${progress.received}`);
          }
          progress.received = BigInt(batch.revision);
          progress.same = progress.received;
          witness.sawEvents(batch.revision, batch.events);
          yield batch;
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      const verdict = judge(error, stream.endpoint.url, context);
      if (verdict.elsewhere) gateway.endpoints.avoid(stream.endpoint);
      throw verdict.error;
    } finally {
      stream.close();
    }
  };
}

/** Whether what was seen at `revision` is there: a revision of the same number may be of another history. */
async function isSameStore(
  gateway: Gateway,
  stream: WatchStream,
  witness: Witness,
  revision: string,
): Promise<boolean> {
  const testimony = witness.at(revision);
  if (testimony === null) return true;
  const body = { ...testimony.query, revision };
  const call = { path: '/v3/kv/range', body, repeatable: true, only: stream.endpoint };
  return gateway.call(call, stream.signal, testimony.isTrue);
}

/** Everything up to `revision` was received, without an event of ours in it. */
function advance(progress: WatchProgress, revision: bigint): void {
  if (revision > progress.received) progress.received = revision;
  if (revision > progress.same) progress.same = revision;
}

/** @throws Error when the stream keeps back events that are known to exist */
function judgeProof({ from, revision, same }: Proof, progress: WatchProgress): 'confirm' | 'again' {
  const { received } = progress;
  if (received >= revision) return 'confirm';
  // Events came while the proof was made, and it says nothing about what is still missing.
  if (received !== from) return 'again';
  if (!same) throw new Error(`the watch fell silent: changes after revision ${from} did not come`);
  progress.same = revision > progress.same ? revision : progress.same;
  return 'confirm';
}

function overtaken(url: string, received: bigint): CompactedError {
  return new CompactedError(`etcd at ${url}: what the changes after revision ${received} replaced is compacted`);
}

function compacted(url: string, revision: string, compactRevision: string): CompactedError {
  return new CompactedError(
    `etcd at ${url}: the changes after revision ${revision} are compacted up to ${compactRevision}`,
  );
}
