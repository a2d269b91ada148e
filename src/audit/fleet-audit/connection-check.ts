import { type Observation, reasonFrom } from '../../checks/check.ts';
import { clusterName, clusterOf, clusterScope, mayShareScope } from '../../ecs/arn.ts';
import { formatDuration } from '../../lib/duration.ts';
import type { NodeRecord } from '../../record/record.ts';
import type { Holder } from '../../store/leader-lock.ts';
import { CONNECTION_LIMITS, decodeNodeConnection, decodeShared } from './connections.ts';

/** What an agent last read of its node's connection. Instants are on the monotonic clock. */
export interface ConnectionRead {
  readonly atMs: number;
  readonly holder: Holder | null;
  /** Encoded `SharedConnections`; null: no leader has ever polled. */
  readonly shared: string | null;
  /** Encoded `NodeConnection`; null: this node is not disconnected. */
  readonly own: string | null;
}

/** Since when and why what the store has of all connections is not confirmed; pure state of `judgeEcsConnection`. */
interface ConnectionDoubt {
  readonly sinceMs: number | null;
  /**
   * The first reason of the greatest weight so far. Where no agent can ask ECS, one after the other leads and resigns: a
   * fleet that told of each would write all its records every few minutes.
   */
  readonly why: Why | null;
}

interface Why {
  readonly text: string;
  /** Of what is amiss: 0: the node's way to the store; 1: there is no leader, or a new one; 2: ECS; 3: the document. */
  readonly weight: 0 | 1 | 2 | 3;
}

export const NO_DOUBT: ConnectionDoubt = { sinceMs: null, why: null };

/** A new leader polls within a TTL. After this a node without a document does not know whether it is connected. */
const UNKNOWN_AFTER_MS = 3 * CONNECTION_LIMITS.pollIntervalMs;

interface ConnectionInput {
  readonly read: ConnectionRead | null;
  /** As the node is on the roll; null: not known. */
  readonly node: Pick<NodeRecord, 'containerInstanceArn' | 'cluster'> | null;
  readonly nowMs: number;
  readonly presenceTtlMs: number;
  /** Another one for each agent, 0 to 60 s: a fleet that learns that ECS is away must not write all its records at once. */
  readonly spreadMs: number;
}

/**
 * The check `ecs-connection`; pure. Only what the leader of now confirms makes it critical: while the leader changes, cannot
 * ask ECS, or the store cannot be read, it is a warning at most, and says so.
 * @returns `seen` undefined: what was said of it stays, since no leader has polled yet, or the node is not known; null: there
 * is no such check, since ECS is not asked about the node's cluster
 */
export function judgeEcsConnection(
  before: ConnectionDoubt,
  { read, node, nowMs, presenceTtlMs, spreadMs }: ConnectionInput,
): { readonly seen: Observation | null | undefined; readonly doubt: ConnectionDoubt } {
  if (!read || read.shared === null) return { seen: undefined, doubt: before };
  const decoded = decodeShared(read.shared);
  const own = read.own === null ? null : decodeNodeConnection(read.own);
  const doubt = nextDoubt(before, doubtful(read, decoded, nowMs, presenceTtlMs), nowMs);
  const { sinceMs } = doubt;
  const containerInstanceArn = node?.containerInstanceArn ?? null;
  const asked = decoded.ok ? decoded.value.clusters : null;
  if (asked !== null) {
    if (node === null || containerInstanceArn === null) return { seen: undefined, doubt };
    if (!asked.some((cluster) => isInCluster(node, cluster))) return { seen: null, doubt };
  }
  if (own?.ok === false) {
    const seen = warning(`what the store has of this node's connection cannot be read: ${own.reason}`);
    return { seen, doubt };
  }
  const found = own?.value.registrations.find((each) => each.containerInstanceArn === containerInstanceArn);
  if (!found) {
    if (own?.value.stray && own.value.stray === containerInstanceArn) {
      return { seen: warning('ECS does not have its container instance, as the last audit found'), doubt };
    }
    const isLong = sinceMs !== null && nowMs - sinceMs >= UNKNOWN_AFTER_MS + spreadMs;
    return { seen: isLong ? warning(`not known: ${doubt.why?.text}`) : { status: 'passing', reason: '' }, doubt };
  }
  const told = `ECS has ecs-agent disconnected since ${found.since}`;
  const isConfirmed = own?.value.by === read.holder?.session;
  const why = doubt.why?.text ?? (isConfirmed ? null : CHANGING);
  if (why !== null) return { seen: warning(`${told}, as last seen; ${why}`), doubt };
  if (!found.critical) return { seen: warning(told), doubt };
  const reason = reasonFrom(`${told}, for more than ${formatDuration(found.lastedMs)}`);
  return { seen: { status: 'critical', reason }, doubt };
}

/** @param cluster name or ARN */
function isInCluster(node: Pick<NodeRecord, 'containerInstanceArn' | 'cluster'>, cluster: string): boolean {
  if (clusterName(cluster) !== clusterOf(node)) return false;
  return mayShareScope(clusterScope(cluster), clusterScope(node.containerInstanceArn));
}

const CHANGING = 'the agent that audits has changed, and the new one has not asked ECS yet';

function nextDoubt(before: ConnectionDoubt, now: Why | null, nowMs: number): ConnectionDoubt {
  if (now === null) return NO_DOUBT;
  const isKept = before.why !== null && before.why.weight >= now.weight;
  return { sinceMs: before.sinceMs ?? nowMs, why: isKept ? before.why : now };
}

/** Why what the store has is not confirmed; null: it is. */
function doubtful(
  { atMs, holder }: ConnectionRead,
  shared: ReturnType<typeof decodeShared>,
  nowMs: number,
  presenceTtlMs: number,
): Why | null {
  if (nowMs - atMs > 2 * presenceTtlMs) return { text: 'the store has not been read since', weight: 0 };
  if (!shared.ok) return { text: `what the store has of all connections cannot be read: ${shared.reason}`, weight: 3 };
  if (holder === null) return { text: 'no agent audits now', weight: 1 };
  if (holder.session !== shared.value.by) return { text: CHANGING, weight: 1 };
  const { failing } = shared.value;
  // Of any agent, so that it stays true where none audits any more: the first reason stays until one can ask.
  return failing && { text: `no agent could ask ECS since ${failing.since}: ${failing.reason}`, weight: 2 };
}

function warning(text: string): Observation {
  return { status: 'warning', reason: reasonFrom(text) };
}
