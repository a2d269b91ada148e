import { printable } from '../lib/foreign-text.ts';
import type { KeptDifference } from '../record/difference.ts';
import type { Uncertainty } from '../record/events.ts';
import type { InstanceJson } from '../record/roll.ts';
import { type BoardNode, boardNode } from './nodes.ts';

/** An event as `/v1/events` sends it. The agent and this page are of one build, so its shape is not checked again. */
export interface EventJson {
  readonly id: string;
  readonly type: string;
  readonly subject?: string;
  readonly time: string;
  readonly revision: string;
  readonly snapshot?: true;
  readonly data: {
    readonly record?: Omit<InstanceJson, 'presence'> | null;
    readonly previous?: Omit<InstanceJson, 'presence'> | null;
    readonly presence?: InstanceJson['presence'] | null;
    readonly instanceIds?: readonly string[];
    readonly uncertain?: true;
  } & Partial<Uncertainty> &
    Partial<KeptDifference> & { readonly returned?: number; readonly lost?: number };
}

/** The body of `/v1/containerInstances`. */
export interface RollJson {
  readonly containerInstances: readonly InstanceJson[];
  readonly revision: string;
  readonly uncertainty: Uncertainty | null;
}

/** A line of the live events. */
export interface EventLine {
  readonly id: string;
  /** The event's type without `rollcall.instance.` or `rollcall.roll.`. */
  readonly kind: string;
  readonly time: string;
  /** null: about the whole roll. */
  readonly instanceId: string | null;
  readonly address: string | null;
  readonly cluster: string | null;
  readonly text: string;
}

/** The roll of the page: read whole at first, then kept up to date by events. */
export interface BoardRoll {
  /** The same map, changed in place: copying 10,000 nodes for each event would be slow. */
  readonly nodes: ReadonlyMap<string, BoardNode>;
  /** Counts the changes of `nodes`. */
  version: number;
  revision: string | null;
  uncertainty: Uncertainty | null;
  /** Newest first, at most `MAX_LINES`. */
  lines: readonly EventLine[];
  replace(roll: RollJson): void;
  apply(event: EventJson): void;
}

/** In memory; more are of no use on a screen. */
const MAX_LINES = 500;

export function createBoardRoll(): BoardRoll {
  const nodes = new Map<string, BoardNode>();
  const roll: BoardRoll = {
    nodes,
    version: 0,
    revision: null,
    uncertainty: null,
    lines: [],

    replace({ containerInstances, revision, uncertainty }) {
      const lostAt = new Map([...nodes].map(([id, { mood, since }]) => [id, mood === 'lost' ? since : null]));
      roll.version += 1;
      nodes.clear();
      for (const record of containerInstances) {
        const id = record.ec2InstanceId;
        nodes.set(id, boardNode(record, lostAt.get(id)));
      }
      roll.revision = revision;
      roll.uncertainty = uncertainty;
    },

    apply(event) {
      const { type, subject, data } = event;
      const kind = type.replace(/^rollcall\.(instance|roll|audit)\./, '');
      roll.version += 1;
      roll.revision = event.revision;
      if (subject !== undefined && type.startsWith('rollcall.instance.')) {
        if (data.record && data.presence) {
          const lostAt = event.snapshot ? null : event.time;
          nodes.set(subject, boardNode({ ...data.record, presence: data.presence }, lostAt));
        } else nodes.delete(subject);
      } else if (kind === 'synced') {
        // A snapshot is complete: what is not in it is gone.
        const there = new Set(data.instanceIds);
        for (const id of nodes.keys()) if (!there.has(id)) nodes.delete(id);
        return;
      } else if (kind === 'uncertain') roll.uncertainty = data as Uncertainty;
      else if (kind === 'certain') roll.uncertainty = null;
      if (event.snapshot) return;
      roll.lines = [eventLine(event, kind), ...roll.lines].slice(0, MAX_LINES);
    },
  };
  return roll;
}

function eventLine(event: EventJson, kind: string): EventLine {
  const { record, previous, containerInstanceArn } = event.data;
  const known = record ?? previous ?? (containerInstanceArn === undefined ? null : event.data);
  return {
    id: event.id,
    kind,
    time: event.time,
    instanceId: containerInstanceArn === undefined ? (event.subject ?? null) : (event.data.instanceId ?? null),
    address: known?.privateIpAddress ? printable(known.privateIpAddress) : null,
    cluster: known?.cluster ? printable(known.cluster) : null,
    text: printable(describeEvent(kind, event.data)),
  };
}

function describeEvent(event: string, data: EventJson['data']): string {
  const { record, previous, vanished, nodes, returned, lost, kind, reason } = data;
  switch (event) {
    case 'difference':
    case 'resolved':
      return `${kind}: ${reason}${data.instanceId === null ? `, ${data.containerInstanceArn}` : ''}`;
    case 'health': {
      const worst = record?.health.checks.find(({ status }) => status === record.health.status);
      const why = record?.health.status === 'passing' || !worst ? '' : `, ${worst.name}: ${worst.reason}`;
      return `${previous?.health.status ?? 'unknown'} → ${record?.health.status ?? 'unknown'}${why}`;
    }
    case 'departed':
      return record?.departure?.cause ?? '';
    case 'interruption':
      return record?.interruption
        ? [record.interruption.kind, record.interruption.action].filter(Boolean).join(' ')
        : 'notice withdrawn';
    case 'lost':
      return `${previous ? `last ${previous.health.status}` : ''}${data.uncertain ? ', uncertain' : ''}`;
    case 'uncertain':
      return `${vanished} of ${nodes} nodes vanished at once`;
    case 'certain':
      return `${returned} returned, ${lost} lost`;
    default:
      return '';
  }
}
