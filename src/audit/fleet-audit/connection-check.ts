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

/** Since when what the store has of all connections is not confirmed; pure state of `judgeEcsConnection`. */
export interface ConnectionDoubt {
  readonly sinceMs: number | null;
}

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
  const doubted = doubtful(read, decoded, nowMs, presenceTtlMs);
  const sinceMs = doubted === null ? null : (before.sinceMs ?? nowMs);
  const doubt = { sinceMs };
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
    return { seen: isLong ? warning(`not known: ${doubted}`) : { status: 'passing', reason: '' }, doubt };
  }
  const told = `ECS has ecs-agent disconnected since ${found.since}`;
  const isConfirmed = own?.value.by === read.holder?.session;
  const why = doubted ?? (isConfirmed ? null : CHANGING);
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

/** Why what the store has is not confirmed; null: it is. */
function doubtful(
  { atMs, holder }: ConnectionRead,
  shared: ReturnType<typeof decodeShared>,
  nowMs: number,
  presenceTtlMs: number,
): string | null {
  if (nowMs - atMs > 2 * presenceTtlMs) return 'the store has not been read since';
  if (!shared.ok) return `what the store has of all connections cannot be read: ${shared.reason}`;
  if (holder === null) return 'no agent audits now';
  if (holder.session !== shared.value.by) return CHANGING;
  const { failing } = shared.value;
  return failing && `the auditor cannot ask ECS since ${failing.since}: ${failing.reason}`;
}

function warning(text: string): Observation {
  return { status: 'warning', reason: reasonFrom(text) };
}
