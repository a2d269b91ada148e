import type { Clock } from '../../lib/clock.ts';
import type { Kv, KvBatch } from '../kv.ts';
import { CompactedError, type StoreError } from '../store-errors.ts';
import type { EtcdClient } from './etcd-client.ts';
import { type EtcdContext, isAnswerTooLarge, JunkAnswerError, judge, replaced } from './etcd-errors.ts';
import { checkFreshness, type Freshness, type HistoryCheck, type WatchProgress } from './freshness.ts';
import { RANGE } from './rpc.ts';
import { openWatchStream, regroup, type WatchAnswer, type WatchStream } from './watch-stream.ts';

/** Brings several sources into one order of arrival. Each source puts again only after its last item was taken. */
interface Inbox<T> {
  readonly put: (item: T) => void;
  /** The oldest item; waits for one. Only one taker at a time. */
  take(): Promise<T>;
}

/** Used in place of `Promise.race`, which leaves a reaction behind at the slower promise each time: a leak in a watch of days. */
function inbox<T>(): Inbox<T> {
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

/** With what a freshness check takes, a confirmation comes within the ten seconds that the contract gives. */
const CONFIRM_EVERY_MS = 5_000;
/** The same after a check that made etcd look at all our keys: others write to it, so the next one will, too. */
const CONFIRM_LATER_MS = 8_000;
/** The same after one that was overtaken by events. */
const CHECK_AGAIN_MS = 1_000;

interface WatchDeps {
  readonly clock: Clock;
  readonly context: EtcdContext;
  readonly history: HistoryCheck;
}

type Turn =
  | { readonly kind: 'answer'; readonly answer: WatchAnswer | null }
  | { readonly kind: 'freshness'; readonly freshness: Freshness; readonly askedAtMs: number }
  | { readonly kind: 'failed'; readonly error: unknown };

/**
 * One stream, and no second one: it throws a retryable `StoreError` when that ends, fails or falls silent, and the
 * caller watches again from the last revision it has, which then starts at another endpoint. What was confirmed but
 * not received is never skipped: a confirmation repeats the revision of the last event.
 */
export function etcdWatch(client: EtcdClient, { clock, context, history }: WatchDeps): Kv['watch'] {
  return async function* watch(revision, signal): AsyncGenerator<KvBatch, void, void> {
    const stream = await openWatchStream(client, context.root, null, revision, signal);
    const progress: WatchProgress = { received: BigInt(revision), same: BigInt(revision) };
    // At most one answer and one freshness check are ever under way: that bounds what is read ahead of a slow consumer.
    const turns = inbox<Turn>();
    const report = (work: Promise<Turn>) => work.catch((error): Turn => ({ kind: 'failed', error })).then(turns.put);
    const read = () => report(stream.next().then((answer) => ({ kind: 'answer', answer })));
    const check = async (delayMs: number): Promise<Turn> => {
      await clock.sleep(delayMs, stream.signal);
      const askedAtMs = clock.monotonicMs();
      const freshness = await checkFreshness(client, context.root, stream, progress, clock);
      return { kind: 'freshness', freshness, askedAtMs };
    };
    let held: Parameters<typeof regroup>[0] = [];
    /** What the first check could not confirm, because events were on their way: confirmed when they are here. */
    let due: { readonly revision: bigint; readonly askedAtMs: number } | null = null;
    const confirmation = (askedAtMs: number): KvBatch => {
      due = null;
      return { revision: String(progress.received), events: [], confirmedMsAgo: clock.monotonicMs() - askedAtMs };
    };
    try {
      if (!(await isSameStore(client, stream, history, revision))) {
        history.refute();
        throw replaced(stream.endpoint.url);
      }
      read();
      report(check(0));
      for (;;) {
        const turn = await turns.take();
        signal.throwIfAborted();
        if (turn.kind === 'failed') throw turn.error;
        if (turn.kind === 'freshness') {
          const { freshness, askedAtMs } = turn;
          const step = judgeFreshness(freshness, progress);
          if (step === 'confirm') yield confirmation(askedAtMs);
          else due ??= { revision: freshness.revision, askedAtMs };
          const everyMs = step === 'again' ? CHECK_AGAIN_MS : freshness.scanned ? CONFIRM_LATER_MS : CONFIRM_EVERY_MS;
          // A member that lags answers late: what it confirms is old by then, and the next check is due.
          report(check(Math.max(askedAtMs + everyMs - clock.monotonicMs(), 0)));
          continue;
        }
        const { answer } = turn;
        if (answer === null) throw new Error('the watch ended');
        read();
        if (answer.kind === 'compacted') throw compacted(stream.endpoint.url, revision, answer.compactRevision);
        if (answer.kind === 'progress') advance(progress, BigInt(answer.revision));
        if (answer.kind !== 'events') continue;
        // Replay needs the replaced values. If they counted as empty, a loss or a deletion would not be an event.
        if (answer.lacksPrevious) throw overtaken(stream.endpoint.url, progress.received, 'replaced is compacted');
        const regrouped = regroup(held, answer.events, answer.partial);
        held = regrouped.held;
        for (const batch of regrouped.batches) {
          if (BigInt(batch.revision) <= progress.received) {
            throw new JunkAnswerError(`the watch sent revision ${batch.revision} after ${progress.received}`);
          }
          progress.received = BigInt(batch.revision);
          progress.same = progress.received;
          history.sawEvents(batch.revision, batch.events);
          yield batch;
        }
        if (due && progress.received >= due.revision) yield confirmation(due.askedAtMs);
      }
    } catch (error) {
      signal.throwIfAborted();
      // Etcds before 3.4 cannot cut an answer in parts, and the same one would come again.
      if (isAnswerTooLarge(error)) throw overtaken(stream.endpoint.url, progress.received, 'is more than one answer');
      throw judged(client, context, stream, error);
    } finally {
      stream.close();
    }
  };
}

/** Without the freshness checks of `etcdWatch`: they would cost etcd a question from each agent every few seconds. */
export function etcdWatchKeys(client: EtcdClient, context: EtcdContext): Kv['watchKeys'] {
  return async function* watchKeys(keys, revision, signal): AsyncGenerator<KvBatch, void, void> {
    const stream = await openWatchStream(client, context.root, keys, revision, signal);
    try {
      for (;;) {
        const answer = await stream.next();
        if (answer === null) throw new Error('the watch ended');
        if (answer.kind === 'compacted') throw compacted(stream.endpoint.url, revision, answer.compactRevision);
        if (answer.kind === 'events') yield* regroup([], answer.events, false).batches;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw judged(client, context, stream, error);
    } finally {
      stream.close();
    }
  };
}

/** What the reader of a watch gets for `error`; the next watch starts elsewhere where that may help. */
function judged(client: EtcdClient, context: EtcdContext, { endpoint }: WatchStream, error: unknown): StoreError {
  const verdict = judge(error, endpoint.url, context, `read ${context.root}`);
  if (verdict.elsewhere) client.avoid(endpoint);
  return verdict.error;
}

/** Whether what was seen up to `revision` is there: a revision of the same number may be of another history. */
async function isSameStore(
  client: EtcdClient,
  stream: WatchStream,
  history: HistoryCheck,
  revision: string,
): Promise<boolean> {
  const how = { repeatable: true, only: stream.endpoint };
  const met = history.at(revision).map(({ key, revision: at, isMet }) =>
    client
      .call(RANGE, { key, revision: at }, how, stream.signal, ({ kvs }) => isMet(kvs))
      .catch((error: unknown) => {
        if (at !== revision && error instanceof CompactedError) return true;
        throw error;
      }),
  );
  return (await Promise.all(met)).every(Boolean);
}

/** Everything up to `revision` was received, without an event of ours in it. */
function advance(progress: WatchProgress, revision: bigint): void {
  if (revision > progress.received) progress.received = revision;
  if (revision > progress.same) progress.same = revision;
}

/** @throws Error when the stream keeps back events that are known to exist */
function judgeFreshness({ from, revision, same }: Freshness, progress: WatchProgress): 'confirm' | 'again' {
  const { received } = progress;
  if (received >= revision) return 'confirm';
  // Events came while it was checked, and it says nothing about what is still missing.
  if (received !== from) return 'again';
  if (!same) throw new Error(`the watch fell silent: changes after revision ${from} did not come`);
  progress.same = revision > progress.same ? revision : progress.same;
  return 'confirm';
}

function overtaken(url: string, received: bigint, why: string): CompactedError {
  return new CompactedError(`etcd at ${url}: what the changes after revision ${received} ${why}`);
}

function compacted(url: string, revision: string, compactRevision: string): CompactedError {
  return new CompactedError(
    `etcd at ${url}: the changes after revision ${revision} are compacted up to ${compactRevision}`,
  );
}
