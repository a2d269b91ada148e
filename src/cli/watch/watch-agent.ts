import type { AgentSource } from '../../client/agent-source.ts';
import { createClient, filterQuery } from '../../client/create-client.ts';
import { openHttpSource } from '../../client/http-source.ts';
import type { RollList, WatchOptions } from '../../client/types.ts';
import { linkSignals } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { DeadlineError, withDeadline } from '../../lib/deadline.ts';
import { describeError, RollcallError } from '../../lib/errors.ts';
import { field } from '../../record/codec.ts';
import { FutureRevisionError } from '../../registry/event-source.ts';
import { type CliContext, streamSkipWarner } from '../context.ts';
import { describeFlaws, pollRoll } from '../follow-roll.ts';
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
  let retries = 0;
  /** Up to this retry what answers is known to have the store whose cursor is saved: it may be another agent after each. */
  let checked = 0;
  const onRetry = (error: unknown) => {
    retries += 1;
    if (!away) log('warn', `warning: ${describeError(error)}; trying again until the agent answers`);
    away = true;
  };
  const answered = () => {
    if (away) log('info', 'note: the agent answers again');
    away = false;
  };
  let asked = false;
  let stale = false;
  const onAnswer = (roll: RollList) => {
    const { stale: now } = roll;
    if (!asked) for (const note of describeFlaws(roll)) log('warn', `note: ${note}`);
    asked = true;
    // While the agent is away, the error says why nothing comes.
    if (now === stale || (now && away)) return;
    stale = now;
    if (now) log('warn', `warning: the agent at ${origin} cannot read the store; events come when the store answers`);
    else log('info', 'note: the store answers again');
  };
  const agent = openHttpSource(origin, clock, config.access);
  const client = createClient(agent, { clock, random, signal: undefined });
  try {
    // Only a cursor needs the store's id before the first event: its revision means nothing in another store.
    let storeId = cursorFile === null ? null : await readStoreId(agent, origin, deps, onRetry);
    const since =
      cursorFile?.saved && storeId !== null ? resumeAt(cursorFile, cursorFile.saved, storeId, origin) : config.since;
    if (storeId !== null) answered();
    checked = retries;
    const write = async (revision: string | null) => {
      if (storeId !== null && (await isSameStore(storeId))) await cursorFile?.write({ store: storeId, revision });
    };
    using ending = linkSignals(signal);
    void pollRoll(agent, clock, filterQuery(watchOptions(config)), onAnswer, ending.signal);
    // Ends the check below once an event named the store. The watch's own signal does not: the last cursor is written after
    // the watch has been ended, which waits 2 s for that, and then closes the agent's source.
    let named = new AbortController();
    // Only an event names its store: a cursor that moves without one may be of another store.
    const isSameStore = async (expected: string) => {
      if (checked === retries) return true;
      const checking = retries;
      named = new AbortController();
      const id = await readStoreIdOnce(agent, origin, clock, named.signal).catch((error) => {
        if (named.signal.aborted) return expected;
        throw error;
      });
      if (id === null) throw unknownStore(origin);
      if (id === expected) checked = Math.max(checked, checking);
      else ending.abort(otherStore(origin, id, expected));
      return id === expected;
    };
    const saver = cursorFile === null ? null : createCursorSaver({ write, clock, warn: (line) => log('warn', line) });
    const onCursor = (cursor: string | null) => {
      // After a reconnection at once, as that is when the store is checked.
      saver?.advance(cursor, checked !== retries);
    };
    const onSkipped = streamSkipWarner(context, config);
    try {
      const events = client.watch({
        ...watchOptions(config),
        since,
        signal: ending.signal,
        onRetry,
        onSkipped,
        onOpen: answered,
        onCursor,
      });
      for await (const { cursor, ...event } of events) {
        const source = event.source.replace(/^rollcall:/, '');
        storeId ??= source;
        if (source !== storeId) throw otherStore(origin, source, storeId);
        checked = retries;
        named.abort(new Error('an event named the store'));
        await output.deliver([event]);
        saver?.advance(cursor, true);
      }
      throw new RollcallError(`watch the roll at ${origin}: the events ended`);
    } finally {
      ending.abort();
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

function otherStore(origin: string, now: string, before: string): RollcallError {
  return new RollcallError(`${origin} now has another store: its id is ${now}, was ${before}; restart the watch`);
}

function unknownStore(origin: string): RollcallError {
  return new RollcallError(`the agent at ${origin} does not know the id of its store yet`);
}

/** @returns null where the agent does not know it yet @throws AgentError, DeadlineError, the signal's reason */
function readStoreIdOnce(
  agent: AgentSource,
  origin: string,
  clock: WatchDeps['clock'],
  signal: AbortSignal,
): Promise<string | null> {
  const action = `read the id of the store at ${origin}`;
  return withDeadline(clock, READ_MS, signal, action, (within) => agent.read('/v1/status', action, within, storeIdOf));
}

/** Asks until the agent knows it. @throws AgentError that a retry cannot fix */
async function readStoreId(
  agent: AgentSource,
  origin: string,
  { clock, random, signal }: WatchDeps,
  onRetry: (error: unknown) => void,
): Promise<string> {
  for (let backoff = new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS); ; backoff = backoff.next()) {
    try {
      const id = await readStoreIdOnce(agent, origin, clock, signal);
      if (id !== null) return id;
      onRetry(unknownStore(origin));
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
