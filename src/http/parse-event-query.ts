import { EVENT_KINDS, type EventKind } from '../record/event.ts';
import { type EventFilter, parseEventKind } from '../record/event-filter.ts';
import { parseRevision } from '../registry/event-source.ts';
import {
  clusterValues,
  listValues,
  type ParsedQuery,
  parseQuery,
  QueryError,
  quoteValue,
  singleValue,
  unknownValue,
} from './query-values.ts';

export interface EventQuery {
  /** null: begin with a snapshot. */
  readonly since: string | null;
  readonly filter: EventFilter;
}

/**
 * Reads `?since=&cluster=&types=` and the `Last-Event-ID` that a browser's EventSource sends when it connects again:
 * it outranks `since`, which is still in the address then. An empty header is none, as the standard has it.
 * @param lastEventId the header's value
 */
export function parseEventQuery(query: URLSearchParams, lastEventId: string | undefined): ParsedQuery<EventQuery> {
  return parseQuery(query, ['since', 'cluster', 'types'], () => {
    const since = readRevision('since', singleValue(query, 'since'));
    return {
      since: readRevision('Last-Event-ID', lastEventId || null) ?? since,
      filter: { kinds: readKinds(query), cluster: clusterValues(query) },
    };
  });
}

function readRevision(name: string, text: string | null): string | null {
  if (text === null) return null;
  const revision = parseRevision(text);
  if (revision !== undefined) return revision;
  throw new QueryError(
    `${name} ${quoteValue(text)} is not a revision; one is a decimal number below 2^63, such as an event's id line has`,
  );
}

function readKinds(query: URLSearchParams): ReadonlySet<EventKind> | null {
  const types = listValues(query, 'types');
  if (!types) return null;
  return new Set(
    [...types].map((type) => {
      const kind = parseEventKind(type);
      if (kind === undefined) throw unknownValue('types', type, EVENT_KINDS);
      return kind;
    }),
  );
}
