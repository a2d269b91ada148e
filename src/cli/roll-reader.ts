import type { AgentSource } from '../client/agent-source.ts';
import { type AgentAccessFlags, agentAccess } from '../config/store-flags.ts';
import type { AgentAccess } from '../lib/agent-access.ts';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { formatDuration } from '../lib/duration.ts';
import { describeError, RollcallError, UsageError } from '../lib/errors.ts';
import type { InstanceJson, Roll, RollEntry } from '../record/roll.ts';
import type { NodeSummary } from '../record/summary.ts';
import { type CliContext, type ReadFlags, readFromStore, warn } from './context.ts';

/** The roll as the commands read it: from the store, or from an agent. */
export interface RollReader {
  /** The URL without its password, for people. */
  readonly label: string;
  /** The whole roll at one revision, sorted by instance id. */
  read(signal: AbortSignal): Promise<Roll>;
  /** The same; the store reads no more of each record than its summary. */
  readSummaries(signal: AbortSignal): Promise<Roll<NodeSummary>>;
  /** One node; null if there is no record of it. */
  readOne(instanceId: string, signal: AbortSignal): Promise<Roll>;
}

/**
 * Opens what `--agent` or `--store` names, reads, and closes it. What an agent says of the age of its roll goes to stderr.
 * @throws StoreError, DeadlineError, AgentError, or UsageError for a URL that is not of a rollcall agent of this version
 */
export async function withRoll<T>(
  context: CliContext,
  flags: ReadFlags,
  action: string,
  read: (reader: RollReader, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (flags.agent !== undefined) return readFromAgent(context, flags, flags.agent, action, read);
  return readFromStore(context, flags, action, (store, signal) =>
    read(
      {
        label: store.label,
        read: (within) => store.read(within, { hurry: true }),
        readSummaries: (within) => store.readSummaries(within),
        async readOne(instanceId, within) {
          const { entry, ...rest } = await store.readOne(instanceId, within);
          return { ...rest, entries: entry === null ? [] : [entry] };
        },
      },
      signal,
    ),
  );
}

async function readFromAgent<T>(
  context: CliContext,
  flags: ReadFlags,
  origin: string,
  action: string,
  read: (reader: RollReader, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  // The whole roll, so that the filters and their notes are the same as with a store.
  const everything = new URLSearchParams({ presence: 'all' });
  return withAgent(context, flags, origin, action, (agent, whole) => {
    const readAll = async (signal: AbortSignal): Promise<Roll> => {
      const { containerInstances, revision, skipped, notes, stale, ageMs } = await agent.list(everything, signal);
      const age = `this roll is ${formatDuration(ageMs)} old: the agent at ${origin} cannot read the store at present`;
      if (stale) warn(context, flags, [age]);
      return { entries: containerInstances.map(entryOf), revision, skipped, notes, ...(stale ? { stale } : {}) };
    };
    const reader: RollReader = {
      label: origin,
      read: readAll,
      readSummaries: readAll,
      async readOne(instanceId, signal) {
        const roll = await readAll(signal);
        return { ...roll, entries: roll.entries.filter(({ record }) => record.ec2InstanceId === instanceId) };
      },
    };
    return read(reader, whole);
  });
}

/** An agent answers from memory, and waits for its store for 3 s at most. */
const AGENT_DEADLINE_MS = 15_000;

/**
 * Asks an agent within a deadline.
 * @throws RollcallError, AgentError, or UsageError for a URL that is not of a rollcall agent of this version
 */
export async function withAgent<T>(
  context: CliContext,
  flags: AgentAccessFlags,
  origin: string,
  action: string,
  ask: (agent: AgentSource, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  // Loaded here, because a command that reads the store needs no HTTP client.
  const { openHttpSource } = await import('../client/http-source.ts');
  const access = agentAccess(flags);
  const agent = openHttpSource(origin, context.clock, access);
  try {
    return await withDeadline(context.clock, AGENT_DEADLINE_MS, context.signal, action, (signal) => ask(agent, signal));
  } catch (error) {
    context.signal.throwIfAborted();
    if (error instanceof DeadlineError) {
      const limit = formatDuration(AGENT_DEADLINE_MS);
      throw new RollcallError(`the agent at ${origin} gave no answer within ${limit}; ask another one, or the store`);
    }
    throw await explainAgentError(context, access, origin, error);
  } finally {
    await agent.close();
  }
}

/** The entry of which `instanceJson` made this. */
export function entryOf({ presence, ...record }: InstanceJson): RollEntry {
  const { session, since, ttlSeconds } = presence;
  const isPresent = presence.state === 'present' && session !== null && since !== null && ttlSeconds !== null;
  return { record, presence: isPresent ? { session, since, ttlSeconds } : null };
}

/** What an agent says of a path or a parameter that it does not have. This program asks for none that its own version lacks. */
const UNKNOWN = /: unknown (?:path|parameter)/;
const EXPLAIN_LIMIT_MS = 3_000;
const MAX_INDEX_BYTES = 65_536;

/**
 * The error of a request to an agent, as the user needs it. An answer that cannot be one of an agent of this version is a
 * wrong URL, or another version: the text at `/` begins with the version.
 */
export async function explainAgentError(
  context: CliContext,
  access: AgentAccess,
  origin: string,
  error: unknown,
): Promise<unknown> {
  const { AgentError, OWN_URL } = await import('../client/types.ts');
  if (!(error instanceof AgentError)) return error;
  const { status } = error;
  if (status !== null && status >= 300 && status < 400) {
    return new UsageError(
      `${origin} answers with a redirect (HTTP ${status}), which is not followed; use the agent’s own URL`,
    );
  }
  if (status === 401 || status === 403) {
    const flags = status === 401 ? '--agent-token-file' : '--agent-cert-file and --agent-key-file';
    return new RollcallError(`${describeError(error)}; see ${flags}`);
  }
  const lacks = (status === 404 || status === 400) && UNKNOWN.test(error.message);
  // An agent that refuses a request says why; a server that gives no reason is none.
  const isOdd = status === null || status === 404 || lacks || error.message.endsWith(OWN_URL);
  if (error.retryable || !isOdd) return error;
  const version = await versionAt(context, access, origin);
  if (version === context.version && !lacks) return error;
  const cause = describeError(error).replace(`; ${OWN_URL}`, '').replace('; / lists the paths', '');
  if (version === null) {
    return new UsageError(`${origin} is not a rollcall agent: ${cause}; use http://HOST:PORT of an agent’s --listen`);
  }
  if (version === context.version) {
    return new UsageError(
      `the agent at ${origin} is an older build of rollcall ${version}: ${cause}; upgrade it, or ask another agent or the store`,
    );
  }
  return new UsageError(
    `the agent at ${origin} is rollcall ${version}, this is ${context.version}: ${cause}; upgrade the older one`,
  );
}

/** The version in the first line of `/`; null: that is not an agent's. */
async function versionAt({ clock, signal }: CliContext, access: AgentAccess, origin: string): Promise<string | null> {
  const { boundedRequest } = await import('../lib/http-client.ts');
  const { openAgentPool } = await import('../lib/agent-access.ts');
  const pool = openAgentPool(origin, access, { connections: 1, connectTimeoutMs: EXPLAIN_LIMIT_MS });
  try {
    const headers = { accept: 'text/plain' };
    const { status, text } = await withDeadline(clock, EXPLAIN_LIMIT_MS, signal, `read ${origin}/`, (within) =>
      boundedRequest(pool, { method: 'GET', path: '/', headers, maxBytes: MAX_INDEX_BYTES, signal: within }),
    );
    return (status === 200 && /^rollcall ([\w.+-]{1,60})\n/.exec(text)?.[1]) || null;
  } catch {
    // The user gets the error of the first request.
    return null;
  } finally {
    await pool.destroy();
  }
}
