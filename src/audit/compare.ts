import { arnScope, clusterOf } from '../ecs/arn.ts';
import type { ContainerInstance } from '../ecs/ecs-api.ts';
import { describeSkew, onEc2Clock } from '../record/node-clock.ts';
import type { NodeRecord } from '../record/record.ts';
import { presenceState, type Roll, type RollEntry } from '../record/roll.ts';
import { type UnreadableNodes, unreadableNodes } from '../store/unreadable-nodes.ts';
import { isDifference, type Verdict, verdictKey } from './audit-report.ts';
import { type AuditMemory, recall, type Sighting } from './history.ts';

/** The two sides of an audit. */
export interface BothSides {
  readonly roll: Pick<Roll, 'entries' | 'skipped'>;
  /** Names of the clusters that were read. */
  readonly clusters: readonly string[];
  /** True if these are all clusters of the region. */
  readonly all: boolean;
  /** Regions and accounts that were read, in the form of `arnScope`. */
  readonly scopes: ReadonlySet<string>;
  /** Container instances of these clusters, each ARN once. */
  readonly instances: readonly ContainerInstance[];
}

/**
 * Compares the roll with ECS; pure. Each present node and each container instance is in exactly one verdict. INACTIVE
 * container instances are ignored, because ECS has deregistered them.
 * @param nowMs wall clock
 */
export function compareRolls(sides: BothSides, memory: AuditMemory, nowMs: number): readonly Verdict[] {
  const { roll, instances } = sides;
  const entries = new Map(roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]));
  const present = roll.entries.filter((entry) => presenceState(entry) === 'present');
  const byArn = new Map(instances.map((instance) => [instance.containerInstanceArn, instance]));
  const owners = ownersByArn(present.map(({ record }) => record));

  const byOwner = new Map<string, ContainerInstance[]>();
  const ownerless: ContainerInstance[] = [];
  for (const instance of instances.filter(({ status }) => status !== 'INACTIVE')) {
    const owner = instance.ec2InstanceId ?? owners.get(instance.containerInstanceArn);
    const owned = owner === undefined ? ownerless : (byOwner.get(owner) ?? []);
    owned.push(instance);
    if (owner !== undefined) byOwner.set(owner, owned);
  }

  const verdicts: Verdict[] = present.flatMap((entry) =>
    judgePresent(entry, byOwner.get(entry.record.ec2InstanceId) ?? [], { ...sides, byArn, memory, nowMs }),
  );
  const unreadable = unreadableNodes(roll.skipped);
  // ARNs of present nodes that belong to another EC2 instance in ECS. If that instance is not on the roll, it is reported
  // together with the node that has its ARN, and not as a ghost.
  const contested = ownersByArn(verdicts.filter(isContested).flatMap(({ record }) => record ?? []));
  const held = new Map<string, ContainerInstance>();
  const judge = (instance: ContainerInstance, entry: RollEntry | null) => {
    if (contested.has(instance.containerInstanceArn)) held.set(instance.containerInstanceArn, instance);
    else verdicts.push(judgeAbsent(instance, entry, unreadable, nowMs));
  };
  for (const [owner, owned] of byOwner) {
    const entry = entries.get(owner) ?? null;
    if (entry === null || presenceState(entry) !== 'present') for (const instance of owned) judge(instance, entry);
  }
  for (const instance of ownerless) judge(instance, null);
  return verdicts.map((verdict) => {
    const arn = verdict.record?.containerInstanceArn ?? '';
    const isHolder = isContested(verdict) && contested.get(arn) === verdict.record?.ec2InstanceId;
    return withSince(isHolder ? { ...verdict, instance: held.get(arn) ?? null } : verdict, memory, nowMs);
  });
}

/** The instance id for each ARN in the records. If several records have the same ARN, the smallest id, in any order of the roll. */
function ownersByArn(records: readonly NodeRecord[]): ReadonlyMap<string | null, string> {
  const owners = new Map<string | null, string>();
  for (const { containerInstanceArn, ec2InstanceId } of records) {
    const first = owners.get(containerInstanceArn);
    if (first === undefined || ec2InstanceId < first) owners.set(containerInstanceArn, ec2InstanceId);
  }
  return owners;
}

/** True for a mismatch whose ARN belongs to another instance in ECS; it has no container instance. */
function isContested({ kind, instance }: Verdict): boolean {
  return kind === 'mismatch' && instance === null;
}

/** If the sides do not have the start of a difference, takes it from previous audits. */
function withSince(verdict: Verdict, memory: AuditMemory, nowMs: number): Verdict {
  if (verdict.since !== null || !isDifference(verdict.kind)) return verdict;
  return { ...verdict, since: recall(memory, verdictKey(verdict), nowMs)?.firstAt ?? null };
}

/** Time for a new host: it registers in ECS before docker has pulled rollcall's image. */
const JOINING_MS = 5 * 60_000;

/** Judges a container instance whose node is not present. @param entry the node's last entry, not present; null: none */
function judgeAbsent(
  instance: ContainerInstance,
  entry: RollEntry | null,
  unreadable: UnreadableNodes,
  nowMs: number,
): Verdict {
  const verdict = { instance, node: null, record: entry?.record ?? null, since: null };
  if (instance.status === 'DEREGISTERING') {
    return { ...verdict, kind: 'deregistering', reason: `ECS is deregistering it; ${lastState(entry)}` };
  }
  const { ec2InstanceId } = instance;
  // Also with a record, because its presence may be what cannot be read.
  const unread = ec2InstanceId === null ? null : unreadable(ec2InstanceId);
  if (unread !== null) return { ...verdict, kind: 'unreadable', reason: unread };
  if (entry !== null) {
    return {
      ...verdict,
      kind: 'ghost',
      since: entry.record.departure && onEc2Clock(entry.record, entry.record.departure.at),
      reason: ghostReason(instance, entry),
    };
  }
  if (ec2InstanceId === null) {
    return {
      ...verdict,
      kind: 'ghost',
      reason: 'ECS has no EC2 instance id for it, and no present node has its ARN',
    };
  }
  const inEcs = instance.registeredAt === null ? '' : `; registered in ECS at ${instance.registeredAt}`;
  const ageMs = nowMs - Date.parse(instance.registeredAt ?? '');
  if (ageMs <= JOINING_MS) {
    return { ...verdict, kind: 'registering', reason: `not on the roll yet${inEcs}` };
  }
  const link = instance.agentConnected
    ? 'its ecs-agent is connected, so rollcall does not run there'
    : 'its ecs-agent is disconnected';
  return { ...verdict, kind: 'ghost', reason: `never on the roll, or forgotten${inEcs}; ${link}` };
}

function ghostReason(instance: ContainerInstance, entry: RollEntry): string {
  const last = lastState(entry);
  // A connected ecs-agent shows that the host runs, whatever the last record says.
  if (instance.agentConnected) return `${last}; its ecs-agent is connected, so the host seems to run without rollcall`;
  if (!entry.record.departure) return `${last}; its ecs-agent is disconnected: the host may be down or cut off`;
  return `${last}; its ecs-agent is disconnected, as ECS shows a stopped instance until it is deregistered`;
}

/** The last state of an absent node, from its record. */
function lastState(entry: RollEntry | null): string {
  if (entry === null) return 'it is not on the roll';
  const { health, departure, interruption } = entry.record;
  const end = departure ? `departed (${departure.cause}) at ${departure.at}` : presenceState(entry);
  const worst = health.checks.find((check) => check.status === health.status);
  const why = health.status === 'passing' || !worst ? '' : ` (${worst.name}: ${worst.reason})`;
  const notice = interruption && !departure ? `, under notice of ${interruption.kind}` : '';
  return `${end}${notice}, last health ${health.status} since ${health.since}${why}`;
}

/** Healthy agents disconnect for a few minutes several times an hour: https://repost.aws/knowledge-center/ecs-agent-disconnected-linux2-ami */
const LONG_DISCONNECTED_MS = 5 * 60_000;
/** A healthy agent is disconnected in about one audit of a hundred, so three in a row are hardly by chance. */
const MIN_AUDITS = 3;

interface Disconnection {
  /** True if it is known to last longer than `LONG_DISCONNECTED_MS`. */
  readonly long: boolean;
  /** The earliest known instant (RFC 3339); null: unknown. */
  readonly since: string | null;
  /** The evidence, for messages. */
  readonly reason: string;
}

/**
 * Judges how long an ecs-agent has been disconnected, which ECS does not report. Evidence is the node's own check
 * `ecs-agent` (an ecs-agent that does not run is not connected) and the previous audits. The check began by the node's
 * clock: it is no evidence where it is not known how far that is from EC2's.
 * @param sighting the result of previous consecutive audits
 */
function judgeDisconnection(record: NodeRecord, sighting: Sighting | null, nowMs: number): Disconnection {
  const isLong = (since: string) => nowMs - Date.parse(since) > LONG_DISCONNECTED_MS;
  const check = record.health.checks.find(({ name }) => name === 'ecs-agent');
  const began = check && check.status !== 'passing' ? onEc2Clock(record, check.since) : null;
  if (check && began !== null && isLong(began)) {
    const said = check.reason === '' ? '' : `: ${check.reason}`;
    const skew = describeSkew(record);
    const corrected = skew === null ? '' : ` (${check.since} by its own clock; ${skew})`;
    return {
      long: true,
      since: began,
      reason: `its own check ecs-agent is ${check.status} since then${corrected}${said}`,
    };
  }
  if (sighting && sighting.audits + 1 >= MIN_AUDITS && isLong(sighting.firstAt)) {
    return { long: true, since: sighting.firstAt, reason: 'each audit since then found its ecs-agent disconnected' };
  }
  if (sighting) {
    return {
      long: false,
      since: sighting.firstAt,
      reason: 'audits since then found its ecs-agent disconnected; not for long enough yet',
    };
  }
  return { long: false, since: null, reason: 'its ecs-agent is disconnected; ECS does not say for how long' };
}

/** The data by which a node is judged. */
interface JudgeContext extends BothSides {
  readonly byArn: ReadonlyMap<string, ContainerInstance>;
  readonly memory: AuditMemory;
  readonly nowMs: number;
}

/** Judges a present node without a container instance. It is a stray only if ECS should have one. */
function judgeUnmatched(node: RollEntry, { byArn, clusters, all, scopes }: JudgeContext): Verdict {
  const { record } = node;
  const verdict = { instance: null, node, record, since: null, reason: '' };
  const arn = record.containerInstanceArn;
  const cluster = clusterOf(record);
  if (!all && cluster !== null && !clusters.includes(cluster)) return { ...verdict, kind: 'elsewhere' };
  const agentText = ecsAgentText(node);
  if (arn === null) {
    return { ...verdict, kind: 'unregistered', reason: `its ecs-agent has not registered yet${agentText}` };
  }
  if (!scopes.has(arnScope(arn)) || (!all && cluster === null)) return { ...verdict, kind: 'elsewhere' };
  const holder = byArn.get(arn);
  if (holder && holder.status !== 'INACTIVE') {
    const reason = `in ECS its container instance belongs to ${holder.ec2InstanceId ?? 'another node'}; was its disk copied?${agentText}`;
    return { ...verdict, kind: 'mismatch', reason };
  }
  if (holder) return { ...verdict, kind: 'stray', reason: `ECS has deregistered it (INACTIVE)${agentText}` };
  if (cluster !== null && !clusters.includes(cluster)) {
    return { ...verdict, kind: 'stray', reason: `ECS has no cluster ${cluster}${agentText}` };
  }
  return { ...verdict, kind: 'stray', reason: `ECS does not know its container instance${agentText}` };
}

function ecsAgentText({ record }: RollEntry): string {
  const check = record.health.checks.find(({ name }) => name === 'ecs-agent');
  if (!check || check.status === 'passing') return '';
  return `; its check ecs-agent is ${check.status} since ${check.since}${check.reason === '' ? '' : `: ${check.reason}`}`;
}

/** Judges a present node with all container instances of its EC2 instance: the current one, and former ones. */
function judgePresent(node: RollEntry, registrations: readonly ContainerInstance[], context: JudgeContext): Verdict[] {
  const current = currentRegistration(node, registrations);
  const rest = registrations.filter((instance) => instance !== current);
  return [
    current ? judgeMatched(node, current, context) : judgeUnmatched(node, context),
    ...rest.map((instance) => judgeFormer(node, instance, current)),
  ];
}

/**
 * The current container instance of a node: the one in its record, unless that is disconnected and another is connected. If
 * the record has no ARN, the newest one. A disconnected one that the record does not name is a former one.
 */
function currentRegistration(
  { record }: RollEntry,
  registrations: readonly ContainerInstance[],
): ContainerInstance | null {
  const arn = record.containerInstanceArn;
  const newestFirst = registrations.toSorted(
    (a, b) =>
      compareText(b.registeredAt ?? '', a.registeredAt ?? '') ||
      compareText(a.containerInstanceArn, b.containerInstanceArn),
  );
  const named = newestFirst.find((instance) => instance.containerInstanceArn === arn) ?? null;
  if (named?.agentConnected) return named;
  const connected = newestFirst.find((instance) => instance.agentConnected);
  return connected ?? named ?? (arn === null ? (newestFirst[0] ?? null) : null);
}

function judgeMatched(node: RollEntry, instance: ContainerInstance, { memory, nowMs }: JudgeContext): Verdict {
  const { record } = node;
  const verdict = { instance, node, record, since: null, reason: '' };
  const { containerInstanceArn: arn, cluster } = record;
  // An unknown ARN or cluster in the record is not a mismatch.
  if (arn !== null && arn !== instance.containerInstanceArn) {
    return {
      ...verdict,
      kind: 'mismatch',
      reason: `its record says ${arn}${cluster === null ? '' : ` in ${cluster}`}`,
    };
  }
  if (cluster !== null && cluster !== instance.cluster) {
    return { ...verdict, kind: 'mismatch', reason: `its record says cluster ${cluster}, ECS ${instance.cluster}` };
  }
  if (instance.status === 'DEREGISTERING') {
    return { ...verdict, kind: 'deregistering', reason: 'ECS is deregistering it; its node is present' };
  }
  if (instance.status === 'REGISTRATION_FAILED') {
    return {
      ...verdict,
      kind: 'stray',
      reason: 'ECS could not register it (REGISTRATION_FAILED) and runs no tasks on it',
    };
  }
  if (instance.agentConnected || instance.status === 'REGISTERING') return { ...verdict, kind: 'agreeing' };
  const key = verdictKey({ ...verdict, kind: 'disconnected' });
  const { long, since, reason } = judgeDisconnection(record, recall(memory, key, nowMs), nowMs);
  return { ...verdict, kind: long ? 'disconnected' : 'disconnected-now', since, reason };
}

/** Judges another container instance of a present node. */
function judgeFormer({ record }: RollEntry, instance: ContainerInstance, current: ContainerInstance | null): Verdict {
  const verdict = { instance, node: null, record, since: null };
  if (instance.status === 'DEREGISTERING') {
    return { ...verdict, kind: 'deregistering', reason: 'ECS is deregistering this former registration' };
  }
  const now = current?.containerInstanceArn ?? record.containerInstanceArn;
  if (instance.agentConnected) {
    return { ...verdict, kind: 'mismatch', reason: `connected to ECS twice, also as ${now}` };
  }
  if (instance.status === 'REGISTERING') {
    return { ...verdict, kind: 'registering', reason: `ECS is registering it; the current one is ${now}` };
  }
  const where = record.cluster === null ? '' : ` in ${record.cluster}`;
  return { ...verdict, kind: 'ghost', reason: `a former registration; the node is present${where} as ${now}` };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
