import { type AgentAccessFlags, agentAccess, storeConfig } from '../config/store-flags.ts';
import type { InstanceJson, RollEntry } from '../record/roll.ts';
import type { CliContext, ReadFlags } from './context.ts';
import { entryOf, explainAgentError } from './roll-reader.ts';

/** The roll as it is after the events so far. */
export interface FollowedRoll {
  readonly revision: string;
  /** All nodes, sorted by instance id; made when it is called. */
  entries(): readonly RollEntry[];
}

type FollowFlags = ReadFlags & AgentAccessFlags;

interface Following {
  readonly signal: AbortSignal;
  /** Called with the error each time before the store or the agent is asked again. */
  readonly onRetry: (error: Error) => void;
}

/**
 * The roll from the store or the agent, whole at first, then after each change; without end, through outages.
 * @throws the reason of `signal`, or an error that a retry cannot fix
 */
export async function* rollChanges(
  context: CliContext,
  flags: FollowFlags,
  { signal, onRetry }: Following,
): AsyncGenerator<FollowedRoll, void, undefined> {
  // Loaded here, because a command that prints and ends does not need it.
  const [{ createClient }, { applyEvent }] = await Promise.all([
    import('../client/create-client.ts'),
    import('../client/watch.ts'),
  ]);
  const { clock, random } = context;
  const client = createClient(await openSource(context, flags), { clock, random, signal: undefined });
  const instances = new Map<string, InstanceJson>();
  let complete = false;
  try {
    for await (const event of client.watch({ signal, onRetry, hold: false })) {
      applyEvent(instances, event);
      // A snapshot in mid-stream replaces the roll node by node; until it is whole the last one stays.
      complete = event.snapshot !== true && (complete || event.type === 'rollcall.roll.synced');
      if (!complete) continue;
      yield {
        revision: event.revision,
        entries: () => [...instances.keys()].sort().map((id) => entryOf(instances.get(id) as InstanceJson)),
      };
    }
  } catch (error) {
    signal.throwIfAborted();
    throw flags.agent === undefined ? error : await explainAgentError(context, agentAccess(flags), flags.agent, error);
  } finally {
    await client.close();
  }
}

async function openSource({ clock, random }: CliContext, flags: FollowFlags) {
  if (flags.agent !== undefined) {
    const { openHttpSource } = await import('../client/http-source.ts');
    return openHttpSource(flags.agent, clock, agentAccess(flags));
  }
  const { openStoreSource } = await import('../client/store-source.ts');
  // What is followed is the facts.
  return openStoreSource(storeConfig(flags), { clock, random, massLoss: null });
}
