import { isLogged } from '../../config/log-level.ts';
import { RollcallError, UsageError } from '../../errors.ts';
import { findProgram } from '../../lifecycle/find-program.ts';
import { cloudEvent } from '../../record/cloud-event.ts';
import type { RollEvent } from '../../record/event.ts';
import { FutureRevisionError } from '../../registry/event-source.ts';
import { createRegistry } from '../../registry/registry.ts';
import { openStore } from '../../store/open-store.ts';
import type { Store } from '../../store/store.ts';
import { unlessAborted } from '../../timing/unless-aborted.ts';
import type { CliContext } from '../cli-context.ts';
import { consumeEvents } from './consume-events.ts';
import { type CursorFile, cursorRefusal, openCursorFile } from './cursor-file.ts';
import { type CursorSaver, createCursorSaver } from './cursor-saver.ts';
import { handleEvent } from './handle-event.ts';
import { handlerEnvironment } from './handler-environment.ts';
import type { SavedCursor } from './parse-cursor.ts';
import { createStorePatience } from './store-patience.ts';
import type { HandlerConfig, WatchConfig } from './watch-config.ts';
import type { WatchDeps } from './watch-deps.ts';

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
    return unlessAborted(context.stdout(lines.join('')), context.signal);
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
