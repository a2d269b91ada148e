import { isLogged } from '../../config/flags.ts';
import { Backoff } from '../../lib/backoff.ts';
import { describeError, RollcallError } from '../../lib/errors.ts';
import { cloudEvent, type EventFilter, filterEvent } from '../../record/cloud-event.ts';
import type { RollEvent } from '../../record/events.ts';
import { describeSkipped, listNotes } from '../../record/flaws.ts';
import { type EventSource, FutureRevisionError, SlowReaderError } from '../../registry/event-source.ts';
import { holdLosses } from '../../registry/hold.ts';
import { createRegistry } from '../../registry/registry.ts';
import { openStore } from '../../store/open-store.ts';
import type { Store } from '../../store/store.ts';
import { CompactedError, StoreError } from '../../store/store-errors.ts';
import type { CliContext } from '../context.ts';
import { type CursorFile, cursorRefusal, openCursorFile, resumeAt } from './cursor-file.ts';
import { type CursorSaver, createCursorSaver } from './cursor-saver.ts';
import { openOutput, type WatchOutput } from './outputs.ts';
import type { WatchConfig, WatchDeps } from './watch-config.ts';

/** Waits while the store does not answer. Logs one line at the start of an outage and one at its end. */
interface StoreRetry {
  /** Repeats `work` while the store does not answer. Rejects with an error that a retry cannot fix, or the signal's reason. */
  retryWhileAway<T>(work: () => Promise<T>): Promise<T>;
  /** Logs the same lines for calls that another component retries. @param error null: the store answers */
  observe(error: unknown): void;
}

const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;

export function createStoreRetry({ clock, random, signal, log }: WatchDeps): StoreRetry {
  let away = false;

  function observe(error: unknown) {
    const answers = error === null;
    if (answers === !away) return;
    away = !answers;
    if (answers) log('info', 'note: the store answers again');
    else log('warn', `warning: ${describeError(error)}; trying again until the store answers`);
  }

  return {
    observe,
    async retryWhileAway(work) {
      let failed = false;
      for (let backoff = new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS); ; backoff = backoff.next()) {
        try {
          const result = await work();
          // Only after a failure: a result at the first try may come from a cache while the store does not answer.
          if (failed) observe(null);
          return result;
        } catch (error) {
          signal.throwIfAborted();
          if (!isAway(error)) throw error;
          failed = true;
          observe(error);
        }
        await clock.sleep(backoff.delayMs(random()), signal);
      }
    },
  };
}

/** True if a retry may help. Checks the causes too: a retryable error may have a cause, such as a wrong password, that is not. */
function isAway(error: unknown): boolean {
  if (!(error instanceof StoreError)) return false;
  // After a compaction the retry reads a new snapshot.
  if (!error.retryable && !(error instanceof CompactedError)) return false;
  return !(error.cause instanceof StoreError) || isAway(error.cause);
}

export interface Consumer {
  readonly source: EventSource;
  readonly since: string | null;
  readonly filter: EventFilter;
  /** Resolves when the events are finished. No further events are read until then. */
  readonly deliver: (events: readonly RollEvent[]) => Promise<void>;
  /**
   * All events up to `cursor` are finished; null: the previous cursor is no longer valid.
   * @param delivered true: events were delivered since the previous cursor
   */
  readonly onFinished: (cursor: string | null, delivered: boolean) => void;
  readonly storeRetry: Pick<StoreRetry, 'retryWhileAway'>;
  readonly signal: AbortSignal;
}

/**
 * Delivers all events in order, each at least once, until `signal` aborts. A consumer that is too slow resumes after its
 * last finished event.
 * Rejects with `FutureRevisionError` if `since` is ahead of the store, with the error of `deliver`, or with the reason of
 * `signal`.
 */
export async function consumeEvents(consumer: Consumer): Promise<never> {
  const { source, filter, deliver, onFinished, storeRetry, signal } = consumer;
  let since = consumer.since;
  let begun = false;
  let delivered = false;
  for (;;) {
    try {
      const batches = await storeRetry.retryWhileAway(() => source.events({ since, signal }));
      // This stream has had a cursor.
      let settled = false;
      for await (const batch of batches) {
        begun = true;
        if (batch.events.some((event) => 'snapshot' in event && event.snapshot)) {
          // A snapshot in mid-stream may come from another store, so there is no valid cursor until it is complete.
          // A snapshot at the start of a stream keeps the cursor: the next stream needs it to judge a mass loss.
          if (since !== null && settled) {
            onFinished(null, delivered);
            since = null;
          }
        }
        const events = batch.events.map((event) => filterEvent(event, filter)).filter((event) => event !== null);
        if (events.length > 0) await deliver(events);
        delivered ||= events.length > 0;
        if (batch.cursor === null) continue;
        since = batch.cursor;
        settled = true;
        onFinished(since, delivered);
        delivered = false;
      }
      signal.throwIfAborted();
      throw new StoreError('watch the roll: the events ended', { retryable: true });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof SlowReaderError) continue;
      if (!(begun && error instanceof FutureRevisionError)) throw error;
      // The store was restored from a backup in the meantime. Start with a snapshot of its current content.
      since = null;
      onFinished(null, delivered);
    }
  }
}

/**
 * Prints or handles events until `context.signal` aborts, then rejects with its reason. Wrong configuration is found
 * before the first event.
 * @throws UsageError, StoreError, RollcallError
 */
export async function runWatch(config: WatchConfig, context: CliContext): Promise<never> {
  const { clock, random, env, signal } = context;
  const log: WatchDeps['log'] = (severity, line) => {
    if (isLogged(config.logLevel, severity)) context.stderr(line);
  };
  const deps: WatchDeps = { clock, random, env, signal, log };
  const output = await openOutput(config, context, deps);
  const cursorFile = config.cursorFile === null ? null : await openCursorFile(config.cursorFile);
  try {
    if (config.agent !== null) {
      const { watchAgent } = await import('./watch-agent.ts');
      return await watchAgent(config, config.agent, cursorFile, output, context, deps);
    }
    const store = await openStore(config.store, { clock, random, signal, create: false });
    try {
      return await watchStore(config, store, cursorFile, output, deps);
    } finally {
      await store.close();
    }
  } finally {
    cursorFile?.release();
    await output.close();
  }
}

async function watchStore(
  config: WatchConfig,
  store: Store,
  cursorFile: CursorFile | null,
  output: WatchOutput,
  deps: WatchDeps,
): Promise<never> {
  const { clock, random, signal, log } = deps;
  const { massLoss, hold } = config;
  const storeRetry = createStoreRetry(deps);
  const onStep = () => storeRetry.observe(registry.status().lastError);
  const registry = createRegistry({ store, clock, random, massLoss, onStep });
  const identify = () => storeRetry.retryWhileAway(() => registry.storeId(signal));
  const tellNotes = async () => {
    const { roll } = await storeRetry.retryWhileAway(() => registry.read(signal));
    const notes = [...describeSkipped(roll.skipped), ...listNotes(roll.entries, config.filter.nodes)];
    for (const note of notes) log('warn', `note: ${note}`);
  };
  let saver: CursorSaver | null = null;
  try {
    const storeId = await identify();
    void tellNotes().catch(() => {}); // the events have the same error
    const since = cursorFile?.saved ? resumeAt(cursorFile, cursorFile.saved, storeId, store.label) : config.since;
    if (cursorFile) {
      const write = (revision: string | null) => cursorFile.write({ store: storeId, revision });
      saver = createCursorSaver({ write, clock, warn: (line) => log('warn', line) });
    }
    return await consumeEvents({
      source: hold ? holdLosses(registry) : registry,
      since,
      filter: config.filter,
      async deliver(events) {
        const now = await identify();
        // Revisions of different stores cannot be compared, so neither the cursor nor the consumer's state is valid.
        if (now !== storeId) {
          throw new RollcallError(
            `${store.label} is now another store: its id is ${now}, was ${storeId}; restart the watch`,
          );
        }
        const nowMs = clock.wallMs();
        await output.deliver(events.map((event) => cloudEvent(event, storeId, nowMs)));
      },
      onFinished: (cursor, delivered) => saver?.advance(cursor, delivered),
      storeRetry,
      signal,
    });
  } catch (error) {
    if (!(error instanceof FutureRevisionError && cursorFile)) throw error;
    const cause = `its revision ${error.since} is ahead of the store’s, ${error.current}, as after a restored backup`;
    throw cursorRefusal(cursorFile.path, cause);
  } finally {
    await Promise.all([saver?.close(), registry.close()]);
  }
}
