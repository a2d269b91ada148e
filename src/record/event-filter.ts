import { eventType } from './cloud-event.ts';
import { EVENT_KINDS, type EventKind, type RollEvent } from './event.ts';
import type { RollEntry } from './roll.ts';

/** null accepts everything. */
export interface EventFilter {
  readonly kinds: ReadonlySet<EventKind> | null;
  readonly cluster: ReadonlySet<string> | null;
}

/**
 * The event as a reader with this filter gets it; null when it is not for that reader. A node that moves to another
 * cluster is told to the readers of both; a `synced` names the nodes of the reader's clusters.
 */
export function filterEvent(event: RollEvent, { kinds, cluster }: EventFilter): RollEvent | null {
  if (kinds && !kinds.has(event.kind)) return null;
  if (!cluster) return event;
  const within = (entry: RollEntry | null) => entry?.record.cluster != null && cluster.has(entry.record.cluster);
  if (event.kind === 'synced') return { ...event, entries: event.entries.filter(within) };
  if (!('instanceId' in event)) return event;
  return within(event.before) || within(event.after) ? event : null;
}

/** `lost` and `rollcall.instance.lost` alike; undefined for what is no type of event. */
export function parseEventKind(text: string): EventKind | undefined {
  return EVENT_KINDS.find((kind) => kind === text || eventType(kind) === text);
}
