import type { RollSource } from '../client/types.ts';
import { type AgentAccessFlags, agentAccess, storeConfig } from '../config/store-flags.ts';
import type { Clock } from '../lib/clock.ts';
import type { InstanceJson, RollEntry } from '../record/roll.ts';
import type { MassLossLimits } from '../registry/mass-loss.ts';
import type { CliContext, ReadFlags } from './context.ts';
import { entryOf, explainAgentError } from './roll-reader.ts';

/** The roll as it is after the events so far. */
export interface FollowedRoll {
  readonly revision: string;
  /** During a mass loss, where losses are held: the nodes that may return are still present. */
  readonly uncertain: boolean;
  /** All nodes, sorted by instance id; made when it is called. */
  entries(): readonly RollEntry[];
}

type FollowFlags = ReadFlags & AgentAccessFlags;

interface Following {
  readonly signal: AbortSignal;
  /** Called with the error each time before the store or the agent is asked again. */
  readonly onRetry: (error: Error) => void;
  /** Called now and then: whether the roll may have changed since, because the store does not answer. */
  readonly onStale?: (stale: boolean) => void;
  /** Holds the losses of a mass loss until they are certain; default and null: facts, as they come. */
  readonly massLoss?: MassLossLimits | null;
}

/**
 * The roll from the store or the agent, whole at first, then after each change; without end, through outages.
 * @throws the reason of `signal`, or an error that a retry cannot fix
 */
export async function* rollChanges(
  context: CliContext,
  flags: FollowFlags,
  { signal, onRetry, onStale, massLoss = null }: Following,
): AsyncGenerator<FollowedRoll, void, undefined> {
  // Loaded here, because a command that prints and ends does not need it.
  const [{ createClient }, { applyEvent }] = await Promise.all([
    import('../client/create-client.ts'),
    import('../client/watch.ts'),
  ]);
  const { clock, random } = context;
  const source = await openSource(context, flags, massLoss);
  const ended = new AbortController();
  if (onStale) void pollStale(source, clock, onStale, AbortSignal.any([signal, ended.signal]));
  const client = createClient(source, { clock, random, signal: undefined });
  const instances = new Map<string, InstanceJson>();
  let complete = false;
  let uncertain = false;
  try {
    for await (const event of client.watch({ signal, onRetry, hold: massLoss !== null })) {
      applyEvent(instances, event);
      // A snapshot in mid-stream replaces the roll node by node; until it is whole the last one stays.
      complete = event.snapshot !== true && (complete || event.type === 'rollcall.roll.synced');
      if (event.type === 'rollcall.roll.uncertain') uncertain = true;
      if (event.type === 'rollcall.roll.certain') uncertain = false;
      if (!complete) continue;
      yield {
        uncertain,
        revision: event.revision,
        entries: () => [...instances.keys()].sort().map((id) => entryOf(instances.get(id) as InstanceJson)),
      };
    }
  } catch (error) {
    signal.throwIfAborted();
    throw flags.agent === undefined ? error : await explainAgentError(context, agentAccess(flags), flags.agent, error);
  } finally {
    ended.abort();
    await client.close();
  }
}

const STALE_POLL_MS = 5_000;

/** A stream says nothing while the store is away: its reader has the last roll. Ends with `signal`. */
async function pollStale(
  source: RollSource,
  clock: Clock,
  onStale: (stale: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  const one = new URLSearchParams({ limit: '1' });
  while (!signal.aborted) {
    try {
      await clock.sleep(STALE_POLL_MS, signal);
      const { stale } = await source.list(one, signal);
      if (!signal.aborted) onStale(stale);
    } catch {
      // The stream tells an error of its own.
    }
  }
}

async function openSource({ clock, random }: CliContext, flags: FollowFlags, massLoss: MassLossLimits | null) {
  if (flags.agent !== undefined) {
    const { openHttpSource } = await import('../client/http-source.ts');
    return openHttpSource(flags.agent, clock, agentAccess(flags));
  }
  const { openStoreSource } = await import('../client/store-source.ts');
  return openStoreSource(storeConfig(flags), { clock, random, massLoss });
}
