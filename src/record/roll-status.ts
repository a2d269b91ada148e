import { forAge } from './node-clock.ts';
import type { HealthStatus, NodeRecord } from './record.ts';
import { presenceState, type RollEntry } from './roll.ts';

/** The numbers of a roll and the nodes to look at: what `rollcall status` and `/v1/status` say of the nodes. */
export interface RollStatus {
  readonly nodes: NodeCounts;
  /** One for each cluster and zone, sorted; null: unknown to the node. */
  readonly groups: readonly StatusGroup[];
  /** Nodes that are not there, newest first where that is known. The store forgets them after its retention, one day. */
  readonly lost: readonly StatusNode[];
  readonly departed: readonly DepartedNode[];
  /** Present nodes that are not passing, worst first. */
  readonly unhealthy: readonly UnhealthyNode[];
  /** Present nodes that AWS is about to take away, and how many there are. */
  readonly notices: readonly NoticedNode[];
  readonly noticed: number;
}

/** The health counts are of the present nodes. */
export interface NodeCounts {
  readonly present: number;
  readonly passing: number;
  readonly warning: number;
  readonly critical: number;
  readonly lost: number;
  readonly departed: number;
}

interface StatusGroup extends NodeCounts {
  readonly cluster: string | null;
  readonly availabilityZone: string | null;
}

export interface StatusNode {
  readonly ec2InstanceId: string;
  readonly privateIpAddress: string | null;
  readonly cluster: string | null;
  readonly availabilityZone: string | null;
  /** The last that the node said of itself. */
  readonly health: HealthStatus;
}

/** Of the instant that a node gave. */
interface ByClock {
  /** It is by the node's own clock, which is not compared with EC2's; false: it is brought to EC2's. */
  readonly byOwnClock: boolean;
}

interface DepartedNode extends StatusNode, ByClock {
  readonly cause: string;
  /** RFC 3339. */
  readonly at: string;
}

interface UnhealthyNode extends StatusNode, ByClock {
  /** The name and the reason of its worst check. */
  readonly check: string;
  readonly reason: string;
  /** RFC 3339. */
  readonly since: string;
}

interface NoticedNode extends StatusNode {
  readonly kind: string;
  readonly action: string | null;
  readonly time: string | null;
}

/** So that the answer of a fleet that is gone stays small; `nodes`, `noticed` and the like have the numbers. */
export const MAX_STATUS_NODES = 100;

export function rollStatus(entries: readonly RollEntry[]): RollStatus {
  const groups = new Map<string, RollEntry[]>();
  for (const entry of entries) {
    const key = JSON.stringify([entry.record.cluster, entry.record.availabilityZone]);
    const group = groups.get(key);
    if (group) group.push(entry);
    else groups.set(key, [entry]);
  }
  const present = entries.filter(({ presence }) => presence !== null);
  const gone = entries.filter(({ presence }) => presence === null);
  const notices = present.flatMap((entry) => {
    const { interruption } = entry.record;
    return interruption === null ? [] : [{ ...statusNode(entry), ...interruption }];
  });
  return {
    nodes: countNodes(entries),
    groups: [...groups.values()].map(groupOf).sort(byPlace),
    lost: bounded(gone.filter(({ record }) => record.departure === null).map(statusNode)),
    departed: bounded(
      gone
        .flatMap((entry) => {
          const { departure } = entry.record;
          if (departure === null) return [];
          const [at, byOwnClock] = comparable(entry.record, departure.at);
          return [{ ...statusNode(entry), cause: departure.cause, at, byOwnClock }];
        })
        .sort((a, b) => msOf(b.at) - msOf(a.at)),
    ),
    unhealthy: bounded(present.flatMap(unhealthy).sort((a, b) => severityOf(b.health) - severityOf(a.health))),
    notices: bounded(notices),
    noticed: notices.length,
  };
}

const bounded = <T>(items: readonly T[]): readonly T[] => items.slice(0, MAX_STATUS_NODES);

function countNodes(entries: readonly RollEntry[]): NodeCounts {
  const counts = { present: 0, passing: 0, warning: 0, critical: 0, lost: 0, departed: 0 };
  for (const entry of entries) {
    const state = presenceState(entry);
    counts[state] += 1;
    if (state === 'present') counts[entry.record.health.status] += 1;
  }
  return counts;
}

function groupOf(entries: readonly RollEntry[]): StatusGroup {
  const { cluster = null, availabilityZone = null } = entries[0]?.record ?? {};
  return { cluster, availabilityZone, ...countNodes(entries) };
}

/** What is unknown comes last. */
function byPlace(a: StatusGroup, b: StatusGroup): number {
  const rank = ({ cluster, availabilityZone }: StatusGroup) =>
    [cluster, availabilityZone].map((name) => (name === null ? '~' : ` ${name}`)).join('');
  return rank(a) < rank(b) ? -1 : 1;
}

function statusNode({ record }: RollEntry): StatusNode {
  const { ec2InstanceId, privateIpAddress, cluster, availabilityZone, health } = record;
  return { ec2InstanceId, privateIpAddress, cluster, availabilityZone, health: health.status };
}

function unhealthy(entry: RollEntry): readonly UnhealthyNode[] {
  const { health } = entry.record;
  if (health.status === 'passing') return [];
  const worst = health.checks.find(({ status }) => status === health.status);
  const { name = '', reason = '' } = worst ?? {};
  const [since, byOwnClock] = comparable(entry.record, worst?.since ?? health.since);
  return [{ ...statusNode(entry), check: name, reason, since, byOwnClock }];
}

/** An instant of the record on EC2's clock, or by the node's own where the two are not compared, and which of them it is. */
function comparable(record: NodeRecord, instant: string): [instant: string, byOwnClock: boolean] {
  return [forAge(record, instant), record.clockSkewSeconds === null];
}

/** What is no instant comes last. */
function msOf(instant: string): number {
  return Date.parse(instant) || 0;
}

function severityOf(status: HealthStatus): number {
  return status === 'critical' ? 2 : status === 'warning' ? 1 : 0;
}
