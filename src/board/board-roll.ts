import { printable } from '../lib/foreign-text.ts';
import type { CloudEvent } from '../record/cloud-event.ts';
import type { KeptDifference } from '../record/difference.ts';
import { whatHappened } from '../record/event-words.ts';
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
  /** How often the roll was read whole, or came whole as a snapshot: what happened in between may be in no event. */
  readings: number;
  revision: string | null;
  uncertainty: Uncertainty | null;
  /** Newest first, at most `MAX_LINES`. */
  lines: readonly EventLine[];
  replace(roll: RollJson): void;
  apply(event: EventJson): void;
}

/** In memory; more are of no use on a screen. */
const MAX_LINES = 500;

/** @param onLine called with each line, as more may come at once than `lines` has */
export function createBoardRoll(onLine: (line: EventLine) => void = () => {}): BoardRoll {
  const nodes = new Map<string, BoardNode>();
  const roll: BoardRoll = {
    nodes,
    version: 0,
    readings: 0,
    revision: null,
    uncertainty: null,
    lines: [],

    replace({ containerInstances, revision, uncertainty }) {
      const lostAt = new Map([...nodes].map(([id, { mood, since }]) => [id, mood === 'lost' ? since : null]));
      roll.version += 1;
      roll.readings += 1;
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
      roll.version += 1;
      roll.revision = event.revision;
      if (subject !== undefined && type.startsWith('rollcall.instance.')) {
        if (data.record && data.presence) {
          const lostAt = event.snapshot ? null : event.time;
          nodes.set(subject, boardNode({ ...data.record, presence: data.presence }, lostAt));
        } else nodes.delete(subject);
      } else if (type === 'rollcall.roll.synced') {
        // A snapshot is complete: what is not in it is gone.
        const there = new Set(data.instanceIds);
        for (const id of nodes.keys()) if (!there.has(id)) nodes.delete(id);
        roll.readings += 1;
        return;
      } else if (type === 'rollcall.roll.uncertain') roll.uncertainty = data as Uncertainty;
      else if (type === 'rollcall.roll.certain') roll.uncertainty = null;
      if (event.snapshot) return;
      const line = eventLine(event);
      roll.lines = [line, ...roll.lines].slice(0, MAX_LINES);
      onLine(line);
    },
  };
  return roll;
}

/** The line of an event that is not from a snapshot. */
export function eventLine(event: EventJson): EventLine {
  const { type, data } = event;
  const { record, previous, containerInstanceArn } = data;
  const isOfAudit = containerInstanceArn !== undefined;
  const known = record ?? previous ?? (isOfAudit ? data : null);
  const text = whatHappened(event as CloudEvent);
  return {
    id: event.id,
    kind: type.slice(type.lastIndexOf('.') + 1),
    time: event.time,
    instanceId: isOfAudit ? (data.instanceId ?? null) : (event.subject ?? null),
    address: known?.privateIpAddress ? printable(known.privateIpAddress) : null,
    cluster: known?.cluster ? printable(known.cluster) : null,
    text: printable(isOfAudit && data.instanceId === null ? `${text}, ${containerInstanceArn}` : text),
  };
}
