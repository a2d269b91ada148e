import type { RollCloudEvent, RollList, RollSource } from '../client/types.ts';
import { type AgentAccessFlags, agentAccess, storeConfig } from '../config/store-flags.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { describeError, RollcallError } from '../lib/errors.ts';
import { describeSkipped } from '../record/flaws.ts';
import type { InstanceJson, RollEntry, SkippedKey } from '../record/roll.ts';
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
  /** Called each time the store or the agent answers, after an error too: the roll that was yielded last is current again. */
  readonly onOpen?: () => void;
  /** Called now and then with what the events do not say: the roll may have changed since, because the store does not answer. */
  readonly onStale: (stale: boolean) => void;
  /** Called then, and when the events say more, with the keys and fields that cannot be read. */
  readonly onFlaws: (flaws: Flaws) => void;
  /** Holds the losses of a mass loss until they are certain; default and null: facts, as they come. */
  readonly massLoss?: MassLossLimits | null;
  /** Takes no whole roll from an agent that cannot read the store: it may be old. Default: takes it. */
  readonly onlyCurrent?: boolean;
}

/**
 * The roll from the store or the agent, whole at first, then after each change; without end, through outages.
 * @throws the reason of `signal`, or an error that a retry cannot fix
 */
export async function* rollChanges(
  context: CliContext,
  flags: FollowFlags,
  { signal, onRetry, onOpen = () => {}, onStale, onFlaws, massLoss = null, onlyCurrent = false }: Following,
): AsyncGenerator<FollowedRoll, void, undefined> {
  // Loaded here, because a command that prints and ends does not need it.
  const [{ createClient }, { applyEvent }] = await Promise.all([
    import('../client/create-client.ts'),
    import('../client/watch.ts'),
  ]);
  const { clock, random } = context;
  const source = await openSource(context, flags, massLoss);
  const ended = new AbortController();
  const unread = createUnread(onFlaws);
  const onAnswer = (roll: RollList) => {
    unread.answered(roll);
    onStale(roll.stale);
  };
  void pollRoll(source, clock, EVERYTHING, onAnswer, AbortSignal.any([signal, ended.signal]));
  const client = createClient(onlyCurrent && flags.agent !== undefined ? currentSource(source, clock) : source, {
    clock,
    random,
    signal: undefined,
  });
  const instances = new Map<string, InstanceJson>();
  const onSkipped = (skipped: SkippedKey) => {
    instances.delete(skipped.key);
    unread.skipped(skipped);
  };
  let complete = false;
  let uncertain = false;
  try {
    for await (const event of client.watch({ signal, onRetry, onSkipped, onOpen, hold: massLoss !== null })) {
      applyEvent(instances, event);
      unread.happened(event);
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

/** Only the first few are named, so that the others can wait for the next answer: each call copies all. */
const TELL_AT_ONCE = 6;

/** Adds the nodes that this reader cannot read to what the agent says of the roll: a newer agent can read them. */
function createUnread(onFlaws: (flaws: Flaws) => void) {
  const reasons = new Map<string, string>();
  let last: Flaws | null = null;
  const tell = () => {
    if (last === null) return;
    const unread = [...reasons].map(([key, reason]) => ({ key, reason }));
    onFlaws({ notes: last.notes, skipped: [...last.skipped.filter(({ key }) => !reasons.has(key)), ...unread] });
  };
  const tellSoon = () => {
    if (reasons.size < TELL_AT_ONCE) tell();
  };
  return {
    answered(flaws: Flaws) {
      last = flaws;
      tell();
    },
    /** One of the audit is named by its type, and no node is missing for it. */
    skipped({ key, reason }: SkippedKey) {
      if (key.startsWith('rollcall.') || reasons.get(key) === reason) return;
      reasons.set(key, reason);
      tellSoon();
    },
    happened(event: RollCloudEvent) {
      if (event.type === 'rollcall.roll.synced') {
        const there = new Set(event.data.instanceIds);
        for (const key of reasons.keys()) if (!there.has(key)) reasons.delete(key);
        tell();
      } else if (event.type.startsWith('rollcall.instance.') && reasons.delete(event.subject ?? '')) tellSoon();
    },
  };
}

class StaleRollError extends RollcallError {
  override readonly name = 'StaleRollError';
  override readonly retryable = true;
}

/** What of the roll cannot be read, as an answer to a request without filters says it. */
export type Flaws = Pick<RollList, 'skipped' | 'notes'>;

export function describeFlaws({ skipped, notes }: Flaws): readonly string[] {
  return [...describeSkipped(skipped), ...notes];
}

const EVERYTHING = new URLSearchParams();
const LIST_LIMIT_MS = 10_000;

/** What holds of the whole roll, with one node of it, or all of an older agent's: `isWhole`. */
function askAbout(source: ListSource, clock: Clock, query: URLSearchParams, signal: AbortSignal) {
  const action = `list the roll at ${source.label}`;
  return withDeadline(clock, LIST_LIMIT_MS, signal, action, async (within) => {
    try {
      return { roll: await source.list(new URLSearchParams([...query, ['limit', '1']]), within), isWhole: false };
    } catch (error) {
      if (!/unknown parameter "limit"/.test(describeError(error))) throw error;
      return { roll: await source.list(query, within), isWhole: true };
    }
  });
}

/** The source whose streams begin with a whole roll only while it reads the store. Those after a cursor miss nothing anyway. */
function currentSource(source: RollSource, clock: Clock): RollSource {
  return {
    ...source,
    async *stream(request, signal) {
      if (request.since === null && (await askAbout(source, clock, EVERYTHING, signal)).roll.stale)
        throw new StaleRollError(`${source.label} cannot read the store at present, and its roll may be old`);
      yield* source.stream(request, signal);
    },
  };
}

const POLL_MS = 5_000;
/** For an agent of a version before `limit`, which answers with its whole roll: 12 MB for 10,000 nodes. */
const WHOLE_POLL_MS = 60_000;

type ListSource = Pick<RollSource, 'label' | 'list'>;

/**
 * Asks now and then for what a stream does not say: whether the store is away, so that its reader has the last roll, what
 * cannot be read, and what of the filters no node has. Ends with `signal`. @param query the filters
 */
export async function pollRoll(
  source: ListSource,
  clock: Clock,
  query: URLSearchParams,
  onAnswer: (roll: RollList) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    let pauseMs = POLL_MS;
    try {
      const { roll, isWhole } = await askAbout(source, clock, query, signal);
      if (isWhole) pauseMs = WHOLE_POLL_MS;
      if (!signal.aborted) onAnswer(roll);
    } catch {
      // The stream tells an error of its own.
    }
    await clock.sleep(pauseMs, signal).catch(() => {}); // aborted: the loop's condition ends it
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
