import type { RollFilter } from '../registry/filter-roll.ts';
import { ROLL_PARAMETERS, readRollFilter } from './parse-roll-query.ts';
import { type ParsedQuery, parseQuery, QueryError, quoteValue, singleValue } from './query-values.ts';

export interface TargetsQuery {
  readonly filter: RollFilter;
  /** null: the port that was asked. */
  readonly port: number | null;
}

/** Reads `?port=` beside the parameters of the roll. */
export function parseTargetsQuery(query: URLSearchParams): ParsedQuery<TargetsQuery> {
  return parseQuery(query, [...ROLL_PARAMETERS, 'port'], () => ({
    filter: readRollFilter(query),
    port: readPort(query),
  }));
}

function readPort(query: URLSearchParams): number | null {
  const text = singleValue(query, 'port');
  if (text === null) return null;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new QueryError(`port ${quoteValue(text)} is not one; allowed: 1 to 65535`);
  return port;
}
