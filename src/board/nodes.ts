import { printable } from '../lib/foreign-text.ts';
import { forAge } from '../record/node-clock.ts';
import type { HealthStatus } from '../record/record.ts';
import type { InstanceJson } from '../record/roll.ts';

/** What the colour of a node says, worst first: its presence, and while it is present its health. */
export const MOODS = ['lost', 'critical', 'warning', 'passing', 'departed'] as const;
export type Mood = (typeof MOODS)[number];

/** A node as the board shows it. All texts are printable: they come from records, which other programs can write. */
export interface BoardNode {
  readonly id: string;
  readonly mood: Mood;
  readonly address: string | null;
  readonly cluster: string | null;
  readonly zone: string | null;
  readonly type: string | null;
  readonly arn: string | null;
  readonly agentVersion: string | null;
  readonly health: HealthStatus;
  /** Of the worst check; empty while all pass. */
  readonly reason: string;
  /**
   * RFC 3339, on EC2's clock where the node's is known, of a lost node by the agent's: since when the state is what it is;
   * null: not known, as for a lost node that was read from a snapshot.
   */
  readonly since: string | null;
  readonly notice: string | null;
  readonly labels: readonly string[];
  readonly departedAt: string | null;
  /** `present`, `lost`, or `departed` with its cause. */
  readonly state: string;
  /** Sorts addresses as numbers. */
  readonly addressKey: string;
  readonly record: InstanceJson;
}

/** @param lostAt RFC 3339 instant of its `lost` event; null: the page has not seen it */
export function boardNode(record: InstanceJson, lostAt: string | null = null): BoardNode {
  const { presence, health, departure } = record;
  const mood = presence.state === 'present' ? health.status : presence.state;
  const worst = health.checks.find(({ status }) => status === health.status && status !== 'passing');
  const labels = Object.entries(record.labels).map(([name, value]) => printable(`${name}=${value}`));
  const notice = record.interruption && printable([record.interruption.kind, record.interruption.action].join(' '));
  const departedAt = departure && forAge(record, departure.at);
  const since = { present: forAge(record, health.since), departed: departedAt, lost: lostAt }[presence.state];
  const shown = {
    address: clean(record.privateIpAddress),
    cluster: clean(record.cluster),
    zone: clean(record.availabilityZone),
    type: clean(record.instanceType),
    arn: clean(record.containerInstanceArn),
    agentVersion: clean(record.versionInfo.agentVersion),
    reason: worst ? printable(worst.reason === '' ? worst.name : `${worst.name}: ${worst.reason}`) : '',
    notice,
    state: presence.state === 'departed' && departure ? `departed: ${departure.cause}` : presence.state,
  };
  return {
    id: record.ec2InstanceId,
    mood,
    health: health.status,
    since,
    departedAt,
    labels,
    ...shown,
    addressKey: addressKey(shown.address),
    record,
  };
}

/** For how long the state is what it is; null: not known. @param nowMs by the agent's clock @param ec2Ms by EC2's */
export function stateAgeMs({ mood, since }: BoardNode, nowMs: number, ec2Ms: number): number | null {
  return since === null ? null : (mood === 'lost' ? nowMs : ec2Ms) - Date.parse(since);
}

const haystacks = new WeakMap<BoardNode, string>();

/** All texts of a node in lower case, for the search; made when it is first searched. */
export function haystackOf(node: BoardNode): string {
  const known = haystacks.get(node);
  if (known !== undefined) return known;
  const { id, address, cluster, zone, type, arn, agentVersion, reason, notice, state, labels, record } = node;
  const texts = [id, address, cluster, zone, type, arn, agentVersion, reason, notice, state, ...labels];
  const text = [...texts, clean(record.privateDnsName), record.health.status].join('\n').toLowerCase();
  haystacks.set(node, text);
  return text;
}

function clean(text: string | null): string | null {
  return text === null ? null : printable(text);
}

/** Unknown addresses come last. */
function addressKey(address: string | null): string {
  if (address === null) return '~';
  return /^[\d.]+$/.test(address) ? address.replace(/\d+/g, (part) => part.padStart(3, '0')) : `:${address}`;
}

export type Tile = 'present' | 'passing' | 'warning' | 'critical' | 'lost' | 'departed' | 'notices' | 'draining';

const DAY_MS = 86_400_000;

/** Whether a node counts in a tile. @param ec2Ms now on EC2's clock */
export function isInTile(tile: Tile, node: BoardNode, draining: ReadonlySet<string>, ec2Ms: number): boolean {
  const isPresent = node.mood !== 'lost' && node.mood !== 'departed';
  switch (tile) {
    case 'present':
      return isPresent;
    case 'departed':
      return node.mood === 'departed' && Date.parse(node.departedAt ?? '') > ec2Ms - DAY_MS;
    case 'notices':
      return isPresent && node.notice !== null;
    case 'draining':
      return draining.has(node.id);
    default:
      return node.mood === tile;
  }
}

/** A square of the zone grid. */
interface Square {
  readonly mood: Mood;
  /** How many nodes it stands for, all of this mood. */
  readonly count: number;
  /** The node, if it stands for one. */
  readonly node: BoardNode | null;
}

export interface Zone {
  /** null: the nodes whose zone is not known. */
  readonly name: string | null;
  readonly counts: Readonly<Record<Mood, number>>;
  /** Worst first. */
  readonly squares: readonly Square[];
}

/** More squares than this are no longer counted at a glance, and cost the browser time. */
const MAX_SQUARES = 450;

/**
 * The nodes by zone. With many nodes a square stands for several of one zone and mood; a mood never disappears, because
 * a part of a square is shown as a whole one.
 */
export function zonesOf(nodes: Iterable<BoardNode>): { readonly zones: readonly Zone[]; readonly perSquare: number } {
  const byZone = new Map<string | null, BoardNode[]>();
  let total = 0;
  for (const node of nodes) {
    total += 1;
    const known = byZone.get(node.zone);
    if (known) known.push(node);
    else byZone.set(node.zone, [node]);
  }
  const perSquare = Math.max(1, Math.ceil(total / MAX_SQUARES));
  const names = [...byZone.keys()].sort((a, b) => compareKeys(a ?? '~', b ?? '~'));
  const zones = names.map((name) => {
    const here = byZone.get(name) ?? [];
    const counts = { lost: 0, critical: 0, warning: 0, passing: 0, departed: 0 };
    for (const { mood } of here) counts[mood] += 1;
    return { name, counts, squares: perSquare === 1 ? singles(here) : groups(counts, perSquare) };
  });
  return { zones, perSquare };
}

function singles(nodes: readonly BoardNode[]): readonly Square[] {
  return [...nodes].sort(byMood).map((node) => ({ mood: node.mood, count: 1, node }));
}

function groups(counts: Zone['counts'], perSquare: number): readonly Square[] {
  return MOODS.flatMap((mood) => {
    const full = Math.floor(counts[mood] / perSquare);
    const rest = counts[mood] % perSquare;
    const squares: Square[] = Array.from({ length: full }, () => ({ mood, count: perSquare, node: null }));
    return rest === 0 ? squares : [...squares, { mood, count: rest, node: null }];
  });
}

const RANK: Readonly<Record<Mood, number>> = { lost: 0, critical: 1, warning: 2, passing: 3, departed: 4 };

/** Worst first, then by address. */
export function byMood(a: BoardNode, b: BoardNode): number {
  return RANK[a.mood] - RANK[b.mood] || compareKeys(a.addressKey, b.addressKey) || compareKeys(a.id, b.id);
}

/** Not by locale, which takes twenty times as long for 10,000 rows. */
export function compareKeys(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
