import { arnScope, clusterOf } from '../ecs/arn.ts';
import type { ContainerInstance } from '../ecs/ecs-api.ts';
import type { NodeRecord } from '../record/record.ts';
import { presenceState, type Roll, type RollEntry } from '../record/roll.ts';
import { type UnreadableNodes, unreadableNodes } from '../store/read-roll.ts';
import { type AuditMemory, recall, type Sighting } from './history.ts';
import { isDifference, type Verdict, verdictKey } from './report.ts';

/** What an audit has before it. */
export interface BothSides {
  readonly roll: Pick<Roll, 'entries' | 'skipped'>;
  /** Names of the clusters that were enumerated. */
  readonly clusters: readonly string[];
  /** They are all of their region. */
  readonly all: boolean;
  /** Regions and accounts that were asked, as `arnScope` writes them. */
  readonly scopes: ReadonlySet<string>;
  /** Of these clusters, each ARN once. */
  readonly instances: readonly ContainerInstance[];
}

/** A host registers in ECS before docker has pulled rollcall's image, and ECS sets up the network of one that it is REGISTERING. */
export const JOINING_MS = 5 * 60_000;

/** A container instance whose EC2 instance is not present on the roll. @param entry its last, if there is one; not present */
export function judgeAbsent(
  instance: ContainerInstance,
  entry: RollEntry | null,
  unreadable: UnreadableNodes,
  nowMs: number,
): Verdict {
  const verdict = { instance, node: null, record: entry?.record ?? null, since: null };
  if (instance.status === 'DEREGISTERING') {
    return { ...verdict, kind: 'deregistering', reason: `ECS is deregistering it; ${lastWords(entry)}` };
  }
  const { ec2InstanceId } = instance;
  // Also where there is a record: a presence that cannot be read is one.
  const unread = ec2InstanceId === null ? null : unreadable(ec2InstanceId);
  if (unread !== null) return { ...verdict, kind: 'unreadable', reason: unread };
  if (entry !== null) {
    return {
      ...verdict,
      kind: 'ghost',
      since: entry.record.departure?.at ?? null,
      reason: ghostReason(instance, entry),
    };
  }
  if (ec2InstanceId === null) {
    return {
      ...verdict,
      kind: 'ghost',
      reason: 'ECS does not say which EC2 instance it is, and no present node has its ARN',
    };
  }
  const inEcs = instance.registeredAt === null ? '' : `; registered in ECS at ${instance.registeredAt}`;
  const ageMs = nowMs - Date.parse(instance.registeredAt ?? '');
  if (ageMs <= JOINING_MS) {
    return { ...verdict, kind: 'registering', reason: `has not answered the roll yet${inEcs}` };
  }
  const link = instance.agentConnected
    ? 'its ecs-agent is connected: rollcall does not run there'
    : 'its ecs-agent is not connected';
  return { ...verdict, kind: 'ghost', reason: `never answered the roll, or was forgotten${inEcs}; ${link}` };
}

function ghostReason(instance: ContainerInstance, entry: RollEntry): string {
  const said = lastWords(entry);
  // The host lives: that outranks whatever the record said of its end.
  if (instance.agentConnected) return `${said}; ECS has its agent connected: the host seems to be up, without rollcall`;
  if (!entry.record.departure) return `${said}; ECS has its agent disconnected: the host may be down or cut off`;
  return `${said}; ECS has its agent disconnected, as of a stopped or terminated instance until it is deregistered`;
}

/** What the record of a node that is not present says of its end. */
function lastWords(entry: RollEntry | null): string {
  if (entry === null) return 'it is not on the roll';
  const { health, departure, interruption } = entry.record;
  const end = departure ? `departed (${departure.cause}) at ${departure.at}` : presenceState(entry);
  const troubled = health.checks.find((check) => check.status === health.status);
  const why = health.status === 'passing' || !troubled ? '' : ` (${troubled.name}: ${troubled.reason})`;
  const notice = interruption && !departure ? `, under notice of ${interruption.kind}` : '';
  return `${end}${notice}, last health ${health.status} since ${health.since}${why}`;
}

/** A few minutes, several times an hour, are normal: https://repost.aws/knowledge-center/ecs-agent-disconnected-linux2-ami */
export const LONG_DISCONNECTED_MS = 5 * 60_000;
/** Of an agent that is away for a moment now and then, one look in a hundred finds it so; hardly three in a row. */
const MIN_AUDITS = 3;

export interface Disconnection {
  /** It is known to have lasted longer than `LONG_DISCONNECTED_MS`. */
  readonly long: boolean;
  /** The earliest instant from which on it is known (RFC 3339); null: nothing is known. */
  readonly since: string | null;
  /** How that is known. */
  readonly reason: string;
}

/**
 * For how long an agent that is disconnected now has been: ECS does not say. Evidence is the node's own check of its
 * ecs-agent, which is not connected while it does not run, and what earlier audits saw.
 * @param sighting what the audits before this one saw in a row
 */
export function judgeDisconnection(record: NodeRecord, sighting: Sighting | null, nowMs: number): Disconnection {
  const isLong = (since: string) => nowMs - Date.parse(since) > LONG_DISCONNECTED_MS;
  const check = record.health.checks.find(({ name }) => name === 'ecs-agent');
  if (check && check.status !== 'passing' && isLong(check.since)) {
    const said = check.reason === '' ? '' : `: ${check.reason}`;
    return { long: true, since: check.since, reason: `its own check ecs-agent is ${check.status} since then${said}` };
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

/** What a node is judged by. */
export interface Known extends BothSides {
  readonly byArn: ReadonlyMap<string, ContainerInstance>;
  readonly memory: AuditMemory;
  readonly nowMs: number;
}

/** A present node of whose EC2 instance ECS has no registration now. It is a stray only where ECS would have one. */
export function judgeUnmatched(node: RollEntry, { byArn, clusters, all, scopes }: Known): Verdict {
  const { record } = node;
  const verdict = { instance: null, node, record, since: null, reason: '' };
  const arn = record.containerInstanceArn;
  const cluster = clusterOf(record);
  if (!all && cluster !== null && !clusters.includes(cluster)) return { ...verdict, kind: 'elsewhere' };
  const trouble = agentTrouble(node);
  if (arn === null) {
    return { ...verdict, kind: 'unregistered', reason: `its ecs-agent has named no container instance yet${trouble}` };
  }
  if (!scopes.has(arnScope(arn)) || (!all && cluster === null)) return { ...verdict, kind: 'elsewhere' };
  const holder = byArn.get(arn);
  if (holder && holder.status !== 'INACTIVE') {
    const reason = `ECS has its container instance as ${holder.ec2InstanceId ?? 'that of another node'}: was its disk copied?${trouble}`;
    return { ...verdict, kind: 'mismatch', reason };
  }
  if (holder) return { ...verdict, kind: 'stray', reason: `ECS has deregistered it (INACTIVE)${trouble}` };
  if (cluster !== null && !clusters.includes(cluster)) {
    return { ...verdict, kind: 'stray', reason: `ECS has no cluster ${cluster}${trouble}` };
  }
  return { ...verdict, kind: 'stray', reason: `ECS does not know its container instance${trouble}` };
}

function agentTrouble({ record }: RollEntry): string {
  const check = record.health.checks.find(({ name }) => name === 'ecs-agent');
  if (!check || check.status === 'passing') return '';
  return `; its check ecs-agent is ${check.status} since ${check.since}${check.reason === '' ? '' : `: ${check.reason}`}`;
}

/** A present node and all that ECS has of its EC2 instance: its registration now, and perhaps former ones left behind. */
export function judgePresent(node: RollEntry, registrations: readonly ContainerInstance[], known: Known): Verdict[] {
  const current = currentRegistration(node, registrations);
  const rest = registrations.filter((instance) => instance !== current);
  return [
    current ? judgeMatched(node, current, known) : judgeUnmatched(node, known),
    ...rest.map((instance) => judgeSurplus(node, instance, current)),
  ];
}

/**
 * The one that the node's record names, unless it is dead and another lives. A dead one that the record does not name
 * is a former one; but where the record names none, the newest is the best there is.
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
  const alive = newestFirst.find((instance) => instance.agentConnected);
  return alive ?? named ?? (arn === null ? (newestFirst[0] ?? null) : null);
}

function judgeMatched(node: RollEntry, instance: ContainerInstance, { memory, nowMs }: Known): Verdict {
  const { record } = node;
  const verdict = { instance, node, record, since: null, reason: '' };
  const { containerInstanceArn: arn, cluster } = record;
  // What the record does not know is not another.
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

/** Another registration of an EC2 instance whose node is present. */
function judgeSurplus({ record }: RollEntry, instance: ContainerInstance, current: ContainerInstance | null): Verdict {
  const verdict = { instance, node: null, record, since: null };
  if (instance.status === 'DEREGISTERING') {
    return { ...verdict, kind: 'deregistering', reason: 'ECS is deregistering this former registration' };
  }
  const now = current?.containerInstanceArn ?? record.containerInstanceArn;
  if (instance.agentConnected) {
    return { ...verdict, kind: 'mismatch', reason: `connected to ECS twice, also as ${now}` };
  }
  if (instance.status === 'REGISTERING') {
    return { ...verdict, kind: 'registering', reason: `ECS is registering it; so far it is ${now}` };
  }
  const where = record.cluster === null ? '' : ` in ${record.cluster}`;
  return { ...verdict, kind: 'ghost', reason: `a former registration; the node is present${where} as ${now}` };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Store against ECS; pure. Each present node and each container instance is in exactly one verdict, but container
 * instances that are INACTIVE: ECS has deregistered those, and lists them no more.
 * @param nowMs wall clock
 */
export function compareRolls(sides: BothSides, memory: AuditMemory, nowMs: number): readonly Verdict[] {
  const { roll, instances } = sides;
  const entries = new Map(roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]));
  const present = roll.entries.filter((entry) => presenceState(entry) === 'present');
  const byArn = new Map(instances.map((instance) => [instance.containerInstanceArn, instance]));
  const owners = claimants(present.map(({ record }) => record));

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
  // ARNs that a present node has, and that ECS has under another's name: where that other one is not present, the node
  // runs there, and "not on the roll" would not be true.
  const contested = claimants(verdicts.filter(isContested).flatMap(({ record }) => record ?? []));
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

/** Whose each ARN is by the records: of several that claim one always the same, however the roll is ordered. */
function claimants(records: readonly NodeRecord[]): ReadonlyMap<string | null, string> {
  const owners = new Map<string | null, string>();
  for (const { containerInstanceArn, ec2InstanceId } of records) {
    const first = owners.get(containerInstanceArn);
    if (first === undefined || ec2InstanceId < first) owners.set(containerInstanceArn, ec2InstanceId);
  }
  return owners;
}

/** A mismatch without a container instance is one whose ARN belongs to somebody else in ECS. */
function isContested({ kind, instance }: Verdict): boolean {
  return kind === 'mismatch' && instance === null;
}

/** Where the sides do not say since when, earlier audits may. */
function withSince(verdict: Verdict, memory: AuditMemory, nowMs: number): Verdict {
  if (verdict.since !== null || !isDifference(verdict.kind)) return verdict;
  return { ...verdict, since: recall(memory, verdictKey(verdict), nowMs)?.firstAt ?? null };
}
