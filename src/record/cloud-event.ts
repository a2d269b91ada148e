import type { KeptDifference } from './difference.ts';
import {
  AUDIT_EVENT_KINDS,
  EVENT_KINDS,
  type EventKind,
  INSTANCE_EVENT_KINDS,
  type RollEvent,
  type Uncertainty,
} from './events.ts';
import { acceptsAll, matchesFilter, type RollFilter } from './filter.ts';
import type { NodeRecord } from './record.ts';
import { type InstanceJson, presenceJson, type RollEntry } from './roll.ts';

/** An event as all consumers get it: CloudEvents 1.0 in its JSON format. */
export interface CloudEvent {
  readonly specversion: '1.0';
  /** Derived from the revision: the same for all consumers of a store, so that they can drop duplicates. */
  readonly id: string;
  readonly source: string;
  readonly type: string;
  /** The instance id, or of a difference without one the ARN; absent in events about the whole roll. */
  readonly subject?: string;
  /** RFC 3339 instant at which the sending process saw it. */
  readonly time: string;
  readonly datacontenttype: 'application/json';
  /** The store revision at which it happened. An extension attribute, as `snapshot` is. */
  readonly revision: string;
  /** true in a snapshot, otherwise absent: the event states what is, not what just happened. */
  readonly snapshot?: true;
  readonly data: CloudEventData;
}

export type CloudEventData = InstanceData | SyncedData | UncertainData | CertainData | AuditData;

/** The difference between the roll and ECS. */
export type AuditData = KeptDifference;

export interface InstanceData {
  readonly record: NodeRecord | null;
  readonly previous: NodeRecord | null;
  readonly presence: InstanceJson['presence'] | null;
  /** true in a `lost` that may be the store's fault, otherwise absent: the node may return until the next `certain`. */
  readonly uncertain?: true;
}

export interface SyncedData {
  /** The nodes on the roll; all others are gone. */
  readonly instanceIds: readonly string[];
}

export type UncertainData = Uncertainty;

export interface CertainData {
  /** Losses up to this revision are certain; for later ones another `uncertain` follows at once. */
  readonly upTo: string;
  readonly returned: number;
  readonly lost: number;
}

const INSTANCE_KINDS: ReadonlySet<string> = new Set(INSTANCE_EVENT_KINDS);
const AUDIT_KINDS: ReadonlySet<string> = new Set(AUDIT_EVENT_KINDS);

/** Such as `rollcall.instance.lost`, `rollcall.roll.synced`. */
export function eventType(kind: RollEvent['kind']): string {
  return `rollcall.${INSTANCE_KINDS.has(kind) ? 'instance' : AUDIT_KINDS.has(kind) ? 'audit' : 'roll'}.${kind}`;
}

/** @param storeId as of `Store.id` @param wallMs ms since the epoch, of an event that has no time of its own */
export function cloudEvent(event: RollEvent, storeId: string, wallMs: number): CloudEvent {
  const subject = 'instanceId' in event ? event.instanceId : 'difference' in event ? subjectOf(event.difference) : null;
  const about = subject === null ? {} : { subject };
  const atMs = ('seenAtMs' in event && event.seenAtMs) || wallMs;
  return {
    specversion: '1.0',
    id: eventId(event),
    source: `rollcall:${storeId}`,
    type: eventType(event.kind),
    ...about,
    time: new Date(atMs).toISOString(),
    datacontenttype: 'application/json',
    revision: event.revision,
    ...('snapshot' in event && event.snapshot ? { snapshot: true } : {}),
    data: eventData(event),
  };
}

/** Without an instance id, what ECS calls it. */
function subjectOf({ instanceId, containerInstanceArn }: KeptDifference): string | null {
  return instanceId ?? containerInstanceArn;
}

function eventId(event: RollEvent): string {
  if ('difference' in event) {
    const { revision, key, kind, snapshot } = event;
    return `${revision}/${key.slice(key.indexOf('/') + 1)}/${kind}${snapshot ? '/snapshot' : ''}`;
  }
  if (!('instanceId' in event)) {
    const part = 'part' in event && event.part > 0 ? `/${event.part}` : '';
    return `${event.revision}/${event.kind}${part}`;
  }
  // A snapshot's event has another id than the event that happened at the same revision.
  const restated = event.snapshot ? '/snapshot' : '';
  return `${event.revision}/${event.instanceId}/${event.kind}${restated}`;
}

function eventData(event: RollEvent): CloudEventData {
  switch (event.kind) {
    case 'synced':
      return { instanceIds: event.entries.map((entry) => entry.record.ec2InstanceId) };
    case 'uncertain':
      return { ...event.uncertainty };
    case 'difference':
    case 'resolved':
      return event.difference;
    case 'certain':
      return { upTo: event.upTo, returned: event.returned, lost: event.lost };
    default:
      return {
        record: event.after?.record ?? null,
        previous: event.before?.record ?? null,
        presence: event.after ? presenceJson(event.after) : null,
        ...(event.uncertain ? { uncertain: true } : {}),
      };
  }
}

/** null accepts every kind. */
export interface EventFilter {
  readonly kinds: ReadonlySet<EventKind> | null;
  readonly nodes: RollFilter;
}

/** True if the filter accepts every event. */
export function acceptsAllEvents({ kinds, nodes }: EventFilter): boolean {
  return kinds === null && acceptsAll(nodes);
}

/**
 * The event for a reader with this filter; null: the reader does not get it. A reader gets the event with which a node
 * enters or leaves what the filter accepts: readers of either cluster that of a node that moves from one to the other. A
 * `synced` names the nodes that the filter accepts.
 */
export function filterEvent(event: RollEvent, { kinds, nodes }: EventFilter): RollEvent | null {
  if (kinds && !kinds.has(event.kind)) return null;
  if (acceptsAll(nodes)) return event;
  const within = (entry: RollEntry | null) => entry !== null && matchesFilter(entry, nodes);
  if (event.kind === 'synced') return { ...event, entries: event.entries.filter(within) };
  if ('difference' in event) {
    const { cluster } = event.difference;
    // It is of a node that may be in no view of the roll: only its cluster can be compared.
    return nodes.cluster === null || (cluster !== null && nodes.cluster.has(cluster)) ? event : null;
  }
  if (!('instanceId' in event)) return event;
  return within(event.before) || within(event.after) ? event : null;
}

/** Accepts `lost` and `rollcall.instance.lost`; undefined: not an event type. */
export function parseEventKind(text: string): EventKind | undefined {
  return EVENT_KINDS.find((kind) => kind === text || eventType(kind) === text);
}
