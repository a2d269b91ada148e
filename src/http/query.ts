import { quote } from '../lib/errors.ts';
import { type EventFilter, parseEventKind } from '../record/cloud-event.ts';
import { INSTANCE_ID } from '../record/codec.ts';
import { EVENT_KINDS, type EventKind } from '../record/events.ts';
import { FILTER_NAMES, FilterError, type FilterTexts, parseFilter, type RollFilter } from '../record/filter.ts';
import type { RollEntry } from '../record/roll.ts';
import { parseRevision } from '../registry/event-source.ts';

/** The query is invalid. The message names the value and what is allowed. */
class QueryError extends Error {
  override readonly name = 'QueryError';
}

type ParsedQuery<T> =
  | { readonly ok: true; readonly value: T }
  /** `detail` names the value and what is allowed. */
  | { readonly ok: false; readonly detail: string };

/** Refuses unknown parameters, then runs `read`, which may throw `QueryError`. */
function parseQuery<T>(query: URLSearchParams, known: readonly string[], read: () => T): ParsedQuery<T> {
  try {
    for (const name of query.keys()) {
      if (!known.includes(name)) throw new QueryError(`unknown parameter ${quote(name)}; ${allowedValues(known)}`);
    }
    return { ok: true, value: read() };
  } catch (error) {
    if (error instanceof QueryError || error instanceof FilterError) return { ok: false, detail: error.message };
    throw error;
  }
}

/** All values of a comma-separated or repeated parameter; null if it is not in the query. */
function listValues(query: URLSearchParams, name: string): ReadonlySet<string> | null {
  if (!query.has(name)) return null;
  const found = query.getAll(name).flatMap((list) => list.split(','));
  if (found.includes('')) throw emptyValue(name);
  return new Set(found);
}

/** The value of a parameter that takes one value; null if it is not in the query. */
function singleValue(query: URLSearchParams, name: string): string | null {
  const [value = null, second] = query.getAll(name);
  if (second !== undefined) throw new QueryError(`${name} is set more than once; it takes one value`);
  if (value === '') throw emptyValue(name);
  return value;
}

function unknownValue(name: string, value: string, known: readonly string[]): QueryError {
  return new QueryError(`${name} ${quote(value)} is not known; ${allowedValues(known)}`);
}

function emptyValue(name: string): QueryError {
  return new QueryError(`${name} has an empty value; set a value or remove it`);
}

function allowedValues(names: readonly string[]): string {
  return `allowed: ${names.join(', ')}`;
}

/** One page of the nodes in the order of their ids. */
interface Page {
  /** At most so many nodes; null: all. */
  readonly limit: number | null;
  /** Only nodes whose id comes after this one, which need not be on the roll; null: from the first. */
  readonly after: string | null;
}

interface ListQuery {
  readonly filter: RollFilter;
  readonly page: Page;
}

export const MAX_LIMIT = 10_000;

/** Reads the parameters of `/v1/containerInstances`: the filters of the roll, `limit` and `after`. */
export function parseListQuery(query: URLSearchParams): ParsedQuery<ListQuery> {
  return parseQuery(query, [...FILTER_NAMES, 'limit', 'after'], () => ({
    filter: readRollFilter(query),
    page: { limit: readLimit(query, MAX_LIMIT, 'nodes'), after: readAfter(query) },
  }));
}

/** @param what is counted */
function readLimit(query: URLSearchParams, max: number, what: string): number | null {
  const text = singleValue(query, 'limit');
  if (text === null) return null;
  const limit = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= max) return limit;
  throw new QueryError(`limit ${quote(text)} is not a number of ${what}; allowed: 1 to ${max}`);
}

function readAfter(query: URLSearchParams): string | null {
  const text = singleValue(query, 'after');
  if (text === null || INSTANCE_ID.test(text)) return text;
  throw new QueryError(`after ${quote(text)} is not an instance id; allowed: i- or mi- and 8 to 32 hex digits`);
}

/** @param entries sorted by id @returns the page, and the `after` of the next one; null: it was the last */
export function pageOf(
  entries: readonly RollEntry[],
  { limit, after }: Page,
): { readonly entries: readonly RollEntry[]; readonly next: string | null } {
  const rest = after === null ? entries : entries.filter(({ record }) => record.ec2InstanceId > after);
  if (limit === null || rest.length <= limit) return { entries: rest, next: null };
  return { entries: rest.slice(0, limit), next: rest[limit - 1]?.record.ec2InstanceId ?? null };
}

/** Reads the filters of the roll. Without `presence` it is `present`, as in `rollcall list`; `presence=all` has no filter. */
export function parseRollQuery(query: URLSearchParams): ParsedQuery<RollFilter> {
  return parseQuery(query, FILTER_NAMES, () => readRollFilter(query));
}

/** Reads the filters of `/v1/status`, which has no default: it counts nodes of every presence. */
export function parseStatusQuery(query: URLSearchParams): ParsedQuery<RollFilter> {
  return parseQuery(query, FILTER_NAMES, () => parseFilter(queryTexts(query)));
}

/** @throws FilterError */
function readRollFilter(query: URLSearchParams): RollFilter {
  return parseFilter({ presence: ['present'], ...queryTexts(query) });
}

function queryTexts(query: URLSearchParams): FilterTexts {
  return Object.fromEntries(FILTER_NAMES.filter((name) => query.has(name)).map((name) => [name, query.getAll(name)]));
}

interface TargetsQuery {
  readonly filter: RollFilter;
  /** null: the port of the request. */
  readonly port: number | null;
}

/** Reads `?port=` and the parameters of the roll. */
export function parseTargetsQuery(query: URLSearchParams): ParsedQuery<TargetsQuery> {
  return parseQuery(query, [...FILTER_NAMES, 'port'], () => ({
    filter: readRollFilter(query),
    port: readPort(query),
  }));
}

function readPort(query: URLSearchParams): number | null {
  const text = singleValue(query, 'port');
  if (text === null) return null;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new QueryError(`port ${quote(text)} is not a port; allowed: 1 to 65535`);
  return port;
}

interface EventQuery {
  /** null: start with a snapshot. */
  readonly since: string | null;
  readonly filter: EventFilter;
  /** Uncertain losses are held back: `uncertain=hold`. */
  readonly hold: boolean;
}

/**
 * Reads `?since=&types=&uncertain=`, the filters of the roll, and the header `Last-Event-ID`, which a browser's EventSource
 * sends when it reconnects. The header takes precedence over `since`, which is still in the URL then. An empty header counts as none:
 * https://html.spec.whatwg.org/multipage/server-sent-events.html
 * @param lastEventId the header's value
 */
export function parseEventQuery(query: URLSearchParams, lastEventId: string | undefined): ParsedQuery<EventQuery> {
  return parseQuery(query, ['since', 'types', 'uncertain', ...FILTER_NAMES], () => {
    const since = readRevision('since', singleValue(query, 'since'));
    return {
      since: readRevision('Last-Event-ID', lastEventId || null) ?? since,
      filter: { kinds: readKinds(query), nodes: parseFilter(queryTexts(query)) },
      hold: isHolding(query),
    };
  });
}

interface NodeEventsQuery {
  /** null: every kind. */
  readonly kinds: ReadonlySet<EventKind> | null;
  readonly limit: number;
}

export const MAX_NODE_EVENTS = 1_000;
export const DEFAULT_NODE_EVENTS = 100;

/** Reads the parameters of a node's events: `types` and `limit`. */
export function parseNodeEventsQuery(query: URLSearchParams): ParsedQuery<NodeEventsQuery> {
  return parseQuery(query, ['types', 'limit'], () => ({
    kinds: readKinds(query),
    limit: readLimit(query, MAX_NODE_EVENTS, 'events') ?? DEFAULT_NODE_EVENTS,
  }));
}

function readRevision(name: string, text: string | null): string | null {
  if (text === null) return null;
  const revision = parseRevision(text);
  if (revision !== undefined) return revision;
  throw new QueryError(
    `${name} ${quote(text)} is not a revision: a decimal number below 2^63, as in an event's id line`,
  );
}

function isHolding(query: URLSearchParams): boolean {
  const value = singleValue(query, 'uncertain');
  if (value !== null && value !== 'hold') throw unknownValue('uncertain', value, ['hold']);
  return value === 'hold';
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
