import { HEALTH_STATUSES } from '../record/record.ts';
import { PRESENCE_STATES } from '../record/roll.ts';
import type { RollFilter } from '../registry/filter-roll.ts';
import { clusterValues, knownValues, listValues, type ParsedQuery, parseQuery } from './query-values.ts';

export const ROLL_PARAMETERS: readonly string[] = ['cluster', 'health', 'presence', 'az'];

/** Reads `?cluster=&health=&presence=&az=`. Each takes several values, with commas or by repeating it. */
export function parseRollQuery(query: URLSearchParams): ParsedQuery<RollFilter> {
  return parseQuery(query, ROLL_PARAMETERS, () => readRollFilter(query));
}

/**
 * Without `presence` it is the present nodes that are asked for, as in `rollcall list`; `presence=all` asks for all.
 * @throws QueryError
 */
export function readRollFilter(query: URLSearchParams): RollFilter {
  const presence = knownValues(query, 'presence', [...PRESENCE_STATES, 'all']) ?? new Set(['present']);
  return {
    cluster: clusterValues(query),
    health: knownValues(query, 'health', HEALTH_STATUSES),
    presence: presence.has('all') ? null : new Set(PRESENCE_STATES.filter((state) => presence.has(state))),
    az: listValues(query, 'az'),
  };
}
