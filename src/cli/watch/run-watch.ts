import { isLogged } from '../../config/flags.ts';
import { abortable } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { describeError, RollcallError, UsageError } from '../../lib/errors.ts';
import { findProgram } from '../../lib/find-program.ts';
import { cloudEvent, type EventFilter, filterEvent } from '../../record/cloud-event.ts';
import type { RollEvent } from '../../record/events.ts';
import { type EventSource, FutureRevisionError, SlowReaderError } from '../../registry/event-source.ts';
import { createRegistry } from '../../registry/registry.ts';
import { CompactedError, StoreError } from '../../store/errors.ts';
import { openStore } from '../../store/open-store.ts';
import type { Store } from '../../store/store.ts';
import type { CliContext } from '../context.ts';
import {
  type CursorFile,
  type CursorSaver,
  createCursorSaver,
  cursorRefusal,
  openCursorFile,
  type SavedCursor,
} from './cursor-file.ts';
import { type HandlerConfig, handleEvent, handlerEnvironment, type WatchConfig, type WatchDeps } from './handler.ts';

/** A store that is away is waited for: one line when it went, one when it answers again, however long it takes. */
export interface StorePatience {
  /** Repeats `work` while the store is away. Rejects with what no wait can mend, or with the reason of the signal. */
  whileAway<T>(work: () => Promise<T>): Promise<T>;
  /** The same lines for what somebody else keeps trying. @param error null: the store answers */
  observe(error: unknown): void;
}

const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;

export function createStorePatience({ clock, random, signal, log }: WatchDeps): StorePatience {
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
    async whileAway(work) {
      let failed = false;
      for (let backoff = new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS); ; backoff = backoff.next()) {
        try {
          const result = await work();
          // Only then: what succeeds at once may never have asked the store, which somebody else knows to be away.
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

/** Also looks at the causes: what wraps a wrong password may itself not know that waiting is in vain. */
function isAway(error: unknown): boolean {
  if (!(error instanceof StoreError)) return false;
  // After a compaction the next try reads a new snapshot.
  if (!error.retryable && !(error instanceof CompactedError)) return false;
  return !(error.cause instanceof StoreError) || isAway(error.cause);
}

export interface Consumer {
  readonly source: EventSource;
  readonly since: string | null;
  readonly filter: EventFilter;
  /** Resolves when the events are finished; nothing more is pulled until then. */
  readonly deliver: (events: readonly RollEvent[]) => Promise<void>;
  /**
   * Everything up to `cursor` is finished; null: what was finished before is of no more use.
   * @param told false: nothing was delivered since the cursor before
   */
  readonly onFinished: (cursor: string | null, told: boolean) => void;
  readonly patience: Pick<StorePatience, 'whileAway'>;
  readonly signal: AbortSignal;
}

/**
 * Delivers all events in order, for ever; each at least once. A consumer that is slower than the fleet resumes after
 * what it has finished.
 * Rejects with `FutureRevisionError` when the store has not reached `since`, with what `deliver` rejects with, or with
 * the reason of `signal`.
 */
export async function consumeEvents(consumer: Consumer): Promise<never> {
  const { source, filter, deliver, onFinished, patience, signal } = consumer;
  let since = consumer.since;
  let begun = false;
  for (;;) {
    try {
      const batches = await patience.whileAway(() => source.events({ since, signal }));
      let told = false;
      let first = true;
      for await (const batch of batches) {
        begun = true;
        if (batch.events.some((event) => 'snapshot' in event && event.snapshot)) {
          // In mid-stream what was before it may be of another store: there is nothing to go on from until it is complete.
          // What a stream begins with answers `since`, by which a next one still knows who was there before a mass loss.
          if (since !== null && !first) onFinished(null, told);
          since = null;
        }
        first = false;
        const events = batch.events.map((event) => filterEvent(event, filter)).filter((event) => event !== null);
        if (events.length > 0) await deliver(events);
        told ||= events.length > 0;
        if (batch.cursor === null) continue;
        since = batch.cursor;
        onFinished(since, told);
        told = false;
      }
      signal.throwIfAborted();
      throw new StoreError('watch the roll: the events ended', { retryable: true });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof SlowReaderError) continue;
      if (!(begun && error instanceof FutureRevisionError)) throw error;
      // The store was restored from a backup while we were busy: what it says now is what is so.
      since = null;
    }
  }
}

/**
 * Tells events until `context.signal` aborts, whose reason it rejects with. All that can be wrong with what it was
 * given is found before the first event.
 * @throws UsageError, StoreError, RollcallError
 */
export async function runWatch(config: WatchConfig, context: CliContext): Promise<never> {
  const { clock, random, env, signal } = context;
  const log: WatchDeps['log'] = (severity, line) => {
    if (isLogged(config.logLevel, severity)) context.stderr(line);
  };
  if (config.handler) requireProgram(config.handler, env['PATH']);
  const cursorFile = config.cursorFile === null ? null : await openCursorFile(config.cursorFile);
  try {
    const store = await openStore(config.store, { clock, random, signal, create: false });
    try {
      return await watchStore(config, store, cursorFile, context, { clock, random, env, signal, log });
    } finally {
      await store.close();
    }
  } finally {
    cursorFile?.release();
  }
}

async function watchStore(
  config: WatchConfig,
  store: Store,
  cursorFile: CursorFile | null,
  context: CliContext,
  deps: WatchDeps,
): Promise<never> {
  const { clock, random, signal, log } = deps;
  const { handler, massLoss } = config;
  const patience = createStorePatience(deps);
  const onStep = () => patience.observe(registry.status().lastError);
  const registry = createRegistry({ store, clock, random, massLoss, onStep });
  const identify = () => patience.whileAway(() => registry.storeId(signal));
  let saver: CursorSaver | null = null;
  try {
    const storeId = await identify();
    const since = cursorFile?.saved ? resumeAt(cursorFile, cursorFile.saved, storeId, store.label) : config.since;
    if (cursorFile) {
      const write = (revision: string | null) => cursorFile.write({ store: storeId, revision });
      saver = createCursorSaver({ write, clock, tell: (line) => log('warn', line) });
    }
    const deliver = handler ? handleAll(handler, storeId, deps) : printAll(context, storeId);
    return await consumeEvents({
      source: registry,
      since,
      filter: config.filter,
      async deliver(events) {
        const now = await identify();
        // Revisions of two stores mean nothing to each other: neither the cursor nor what consumers know can go on.
        if (now !== storeId) throw new RollcallError(`${store.label} is another store now, ${now} and not ${storeId}`);
        await deliver(events);
      },
      onFinished: (cursor, told) => saver?.advance(cursor, told),
      patience,
      signal,
    });
  } catch (error) {
    if (!(error instanceof FutureRevisionError && cursorFile)) throw error;
    const cause = `it stands at revision ${error.since} and the store at ${error.current}, as after a restored backup`;
    throw cursorRefusal(cursorFile.path, cause);
  } finally {
    await Promise.all([saver?.close(), registry.close()]);
  }
}

function resumeAt({ path }: CursorFile, saved: SavedCursor, storeId: string, label: string): string | null {
  if (saved.store === storeId) return saved.revision;
  throw cursorRefusal(path, `it is of the store ${saved.store}, and ${label} is ${storeId}`);
}

/** JSON lines, each batch in one write; waits until the reader has taken it. */
function printAll(context: CliContext, storeId: string): (events: readonly RollEvent[]) => Promise<void> {
  return (events) => {
    const nowMs = context.clock.wallMs();
    const lines = events.map((event) => `${JSON.stringify(cloudEvent(event, storeId, nowMs))}\n`);
    return abortable(context.stdout(lines.join('')), context.signal);
  };
}

function handleAll(
  handler: HandlerConfig,
  storeId: string,
  deps: WatchDeps,
): (events: readonly RollEvent[]) => Promise<void> {
  return async (events) => {
    for (const event of events) {
      const told = cloudEvent(event, storeId, deps.clock.wallMs());
      await handleEvent(told, handlerEnvironment(event, told), handler, deps);
    }
  };
}

function requireProgram({ argv: [program] }: HandlerConfig, path: string | undefined): void {
  if (findProgram(program, path) !== null) return;
  const where = program.includes('/')
    ? 'no executable file is there'
    : `no such program on PATH (${path ?? 'not set'})`;
  throw new UsageError(`--exec ${program}: ${where}; name one that can be run`);
}
