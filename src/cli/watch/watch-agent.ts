import type { AgentSource } from '../../client/agent-source.ts';
import { createClient } from '../../client/create-client.ts';
import { openHttpSource } from '../../client/http-source.ts';
import type { WatchOptions } from '../../client/types.ts';
import { Backoff } from '../../lib/backoff.ts';
import { DeadlineError, withDeadline } from '../../lib/deadline.ts';
import { describeError, RollcallError } from '../../lib/errors.ts';
import { field } from '../../record/codec.ts';
import { FutureRevisionError } from '../../registry/event-source.ts';
import type { CliContext } from '../context.ts';
import { explainAgentError } from '../roll-reader.ts';
import { type CursorFile, cursorRefusal, resumeAt } from './cursor-file.ts';
import { createCursorSaver } from './cursor-saver.ts';
import type { WatchOutput } from './outputs.ts';
import type { WatchConfig, WatchDeps } from './watch-config.ts';

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;
const READ_MS = 20_000;

/**
 * As a watch of the store, over an agent's HTTP port: the same events, with the same ids, so a cursor file works for both.
 * @throws the signal's reason, AgentError, or UsageError for a URL that is not of a rollcall agent of this version
 */
export async function watchAgent(
  config: WatchConfig,
  origin: string,
  cursorFile: CursorFile | null,
  output: WatchOutput,
  context: CliContext,
  deps: WatchDeps,
): Promise<never> {
  const { clock, random, signal, log } = deps;
  let away = false;
  const onRetry = (error: unknown) => {
    if (!away) log('warn', `warning: ${describeError(error)}; trying again until the agent answers`);
    away = true;
  };
  const answered = () => {
    if (away) log('info', 'note: the agent answers again');
    away = false;
  };
  const agent = openHttpSource(origin, clock, config.access);
  const client = createClient(agent, { clock, random, signal: undefined });
  try {
    // Only a cursor needs the store's id before the first event: its revision means nothing in another store.
    let storeId = cursorFile === null ? null : await readStoreId(agent, origin, deps, onRetry);
    const since =
      cursorFile?.saved && storeId !== null ? resumeAt(cursorFile, cursorFile.saved, storeId, origin) : config.since;
    const write = async (revision: string | null) => {
      if (storeId !== null) await cursorFile?.write({ store: storeId, revision });
    };
    const saver = cursorFile === null ? null : createCursorSaver({ write, clock, warn: (line) => log('warn', line) });
    try {
      const events = client.watch({ ...watchOptions(config), since, signal, onRetry });
      for await (const { cursor, ...event } of events) {
        answered();
        const source = event.source.replace(/^rollcall:/, '');
        storeId ??= source;
        if (source !== storeId) {
          throw new RollcallError(
            `${origin} now has another store: its id is ${source}, was ${storeId}; restart the watch`,
          );
        }
        await output.deliver([event]);
        saver?.advance(cursor, true);
      }
      throw new RollcallError(`watch the roll at ${origin}: the events ended`);
    } finally {
      await saver?.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof FutureRevisionError && cursorFile))
      throw await explainAgentError(context, config.access, origin, error);
    const cause = `its revision ${error.since} is ahead of the store’s, ${error.current}, as after a restored backup`;
    throw cursorRefusal(cursorFile.path, cause);
  } finally {
    await client.close();
  }
}

function watchOptions({ filter, filterTexts, hold }: WatchConfig): WatchOptions {
  const kinds = filter.kinds === null ? {} : { types: [...filter.kinds] };
  return { ...(filterTexts as WatchOptions), ...kinds, hold };
}

/** Asks until the agent knows it. @throws AgentError that a retry cannot fix */
async function readStoreId(
  agent: AgentSource,
  origin: string,
  { clock, random, signal }: WatchDeps,
  onRetry: (error: unknown) => void,
): Promise<string> {
  const action = `read the id of the store at ${origin}`;
  for (let backoff = new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS); ; backoff = backoff.next()) {
    try {
      const id = await withDeadline(clock, READ_MS, signal, action, (within) =>
        agent.read('/v1/status', action, within, storeIdOf),
      );
      if (id !== null) return id;
      onRetry(new RollcallError(`the agent at ${origin} does not know the id of its store yet`));
    } catch (error) {
      signal.throwIfAborted();
      const mayPass = error instanceof DeadlineError || (error instanceof RollcallError && error.retryable);
      if (!mayPass) throw error;
      onRetry(error);
    }
    await clock.sleep(backoff.delayMs(random()), signal);
  }
}

function storeIdOf(text: string): string | null {
  const { store } = field.object(JSON.parse(text), 'body');
  return field.optionalText(field.object(store, 'store')['id'], 'store.id');
}
