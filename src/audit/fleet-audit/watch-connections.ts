import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { describeError } from '../../lib/errors.ts';
import type { LeaderLocks, Term } from '../../store/leader-lock.ts';
import {
  afterFailedPoll,
  afterPoll,
  type ConnectionLimits,
  type Connections,
  type Disconnected,
  encodeShared,
  type Poll,
  rememberedConnections,
  toldConnections,
} from './connections.ts';

/** The documents of the leader lock: one for all, and one for each node below it. */
export const SHARED_DOCUMENT = 'connections';
export const nodeDocument = (instanceId: string) => `${SHARED_DOCUMENT}/${instanceId}`;

interface WatchConnectionsOptions {
  readonly term: Term;
  readonly locks: Pick<LeaderLocks, 'list' | 'read' | 'publish'>;
  /** What ECS has disconnected now. @param known what it had before */
  readonly poll: (known: readonly Disconnected[], signal: AbortSignal) => Promise<Poll>;
  /** Of the last audit: instance id → ARN. */
  readonly strays: () => ReadonlyMap<string, string>;
  readonly limits: ConnectionLimits;
  readonly clock: Clock;
  /** Called after each poll. @param error null: it succeeded */
  readonly onPolled: (error: unknown) => void;
  /** Called with what the store has by now. @param told encoded documents, by instance id */
  readonly onTold: (shared: string, told: ReadonlyMap<string, string>) => void;
}

/** The budget of 60,000 disconnected nodes. A poll that takes longer hangs. */
const MAX_POLL_MS = 600_000;
const MAX_CALL_MS = 5_000;
const RETRY_MS = 2_000;
/** Nodes in one transaction: etcd takes 128 operations. */
const MAX_TOLD = 100;

/**
 * The leader's polls of the connections of the whole fleet, for as long as its term lasts. Ends when the store says that
 * the term is over, or with `signal`. A store that does not answer is asked again; the count goes on meanwhile.
 */
export async function watchConnections(options: WatchConnectionsOptions, signal: AbortSignal): Promise<void> {
  const { term, locks, limits, clock, onTold } = options;
  const retried = async <T>(action: string, call: (callSignal: AbortSignal) => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await withDeadline(clock, MAX_CALL_MS, signal, action, call);
      } catch {
        // The auditor's own loop, which asks the same store, says what is wrong with it.
        signal.throwIfAborted();
        await clock.sleep(RETRY_MS, signal);
      }
    }
  };
  /** What the store has. */
  const told = new Map(
    await retried('read the connections', (callSignal) => locks.list(term.lock, nodeDocument(''), callSignal)),
  );
  const before = await retried('read the connections', (callSignal) =>
    locks.read(term.lock, [SHARED_DOCUMENT], callSignal),
  );
  let shared: string | null = null;
  let state = rememberedConnections(told, before.documents[0] ?? null);
  let sequence = 0;
  let isFailing = false;
  let clusters: readonly string[] | null = null;

  /** False: the term is over. */
  const publish = async (changed: readonly (readonly [string, string | null])[]): Promise<boolean> => {
    sequence += 1;
    const text = encodeShared({ by: term.session, sequence, failing: state.failing, clusters: state.clusters });
    const nodes = changed.map(([instanceId, value]) => [nodeDocument(instanceId), value] as const);
    const documents = { [SHARED_DOCUMENT]: text, ...Object.fromEntries(nodes) };
    const outcome = await retried('publish the connections', (callSignal) =>
      locks.publish(term, documents, callSignal, { main: SHARED_DOCUMENT }),
    );
    if (outcome.kind === 'lost') return false;
    for (const [instanceId, value] of changed) {
      if (value === null) told.delete(instanceId);
      else told.set(instanceId, value);
    }
    shared = text;
    isFailing = state.failing !== null;
    clusters = state.clusters;
    return true;
  };

  for (;;) {
    const startMs = clock.monotonicMs();
    const outcome = await pollOnce(state, options, signal);
    state = outcome.state;
    const wanted = outcome.ok ? toldConnections(state, term.session, limits, options.strays()) : told;
    const changed = changes(told, wanted);
    const isElsewhere = outcome.ok && String(clusters) !== String(state.clusters);
    const isNew = isElsewhere || isFailing !== (state.failing !== null);
    // Also without a change once a term, so that every agent knows that this leader has polled.
    if (changed.length > 0 || isNew || (shared === null && outcome.ok)) {
      for (let from = 0; from === 0 || from < changed.length; from += MAX_TOLD) {
        if (!(await publish(changed.slice(from, from + MAX_TOLD)))) return;
      }
    }
    if (shared !== null) onTold(shared, told);
    await clock.sleep(Math.max(0, startMs + limits.pollIntervalMs - clock.monotonicMs()), signal);
  }
}

async function pollOnce(
  before: Connections,
  { poll, limits, clock, onPolled }: WatchConnectionsOptions,
  signal: AbortSignal,
): Promise<{ readonly ok: boolean; readonly state: Connections }> {
  const now = () => ({ nowMs: clock.monotonicMs(), wallMs: clock.wallMs() });
  try {
    const known = [...before.known.values()];
    const answer = await withDeadline(clock, MAX_POLL_MS, signal, 'read the connections from ECS', (callSignal) =>
      poll(known, callSignal),
    );
    onPolled(null);
    return { ok: true, state: afterPoll(before, answer, now(), limits) };
  } catch (error) {
    signal.throwIfAborted();
    onPolled(error);
    return { ok: false, state: afterFailedPoll(before, describeError(error), now()) };
  }
}

/** Instance id → the document that the store is to have; null: none. */
function changes(
  told: ReadonlyMap<string, string>,
  wanted: ReadonlyMap<string, string>,
): readonly (readonly [string, string | null])[] {
  const gone = [...told.keys()].filter((id) => !wanted.has(id)).map((id) => [id, null] as const);
  return [...gone, ...[...wanted].filter(([id, text]) => told.get(id) !== text)];
}
