import { refuseCluster } from '../record/refuse-cluster.ts';

/** A query that cannot be answered; the message names the value and what would be allowed. */
export class QueryError extends Error {
  override readonly name = 'QueryError';
}

export type ParsedQuery<T> =
  | { readonly ok: true; readonly value: T }
  /** `detail` names the value and what would be allowed. */
  | { readonly ok: false; readonly detail: string };

/** Runs `read`, which may throw `QueryError`, on a query that has none but the known parameters. */
export function parseQuery<T>(query: URLSearchParams, known: readonly string[], read: () => T): ParsedQuery<T> {
  try {
    for (const name of query.keys()) {
      if (!known.includes(name)) throw new QueryError(`unknown parameter ${quoteValue(name)}; ${allowedValues(known)}`);
    }
    return { ok: true, value: read() };
  } catch (error) {
    if (error instanceof QueryError) return { ok: false, detail: error.message };
    throw error;
  }
}

/** All values of a parameter, given with commas or by repeating it; null: it is not there. */
export function listValues(query: URLSearchParams, name: string): ReadonlySet<string> | null {
  if (!query.has(name)) return null;
  const found = query.getAll(name).flatMap((list) => list.split(','));
  if (found.includes('')) throw emptyValue(name);
  return new Set(found);
}

/** As `listValues` of `cluster`, by which the roll is filtered. */
export function clusterValues(query: URLSearchParams): ReadonlySet<string> | null {
  const names = listValues(query, 'cluster');
  const refusal = refuseCluster(names ?? []);
  if (refusal !== null) throw new QueryError(refusal);
  return names;
}

/** The value of a parameter that takes one; null: it is not there. */
export function singleValue(query: URLSearchParams, name: string): string | null {
  const [value = null, second] = query.getAll(name);
  if (second !== undefined) throw new QueryError(`${name} is there more than once; it takes one value`);
  if (value === '') throw emptyValue(name);
  return value;
}

/** As `listValues`, where only the known values are allowed. */
export function knownValues<T extends string>(
  query: URLSearchParams,
  name: string,
  known: readonly T[],
): ReadonlySet<T> | null {
  const found = listValues(query, name);
  for (const value of found ?? []) {
    if (!(known as readonly string[]).includes(value)) throw unknownValue(name, value, known);
  }
  return found as ReadonlySet<T> | null;
}

export function unknownValue(name: string, value: string, known: readonly string[]): QueryError {
  return new QueryError(`${name} ${quoteValue(value)} is not known; ${allowedValues(known)}`);
}

/** What was given, short enough to be repeated in an answer. */
export function quoteValue(value: string): string {
  return JSON.stringify(value.slice(0, 64));
}

function emptyValue(name: string): QueryError {
  return new QueryError(`${name} has an empty value; give it a value or leave it out`);
}

function allowedValues(names: readonly string[]): string {
  return `allowed: ${names.join(', ')}`;
}
