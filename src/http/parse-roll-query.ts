import { HEALTH_STATUSES } from '../record/record.ts';
import { PRESENCE_STATES } from '../record/roll.ts';
import type { RollFilter } from '../registry/filter-roll.ts';

const PARAMETERS: readonly string[] = ['cluster', 'health', 'presence', 'az'];

export type ParsedQuery =
  | { readonly ok: true; readonly filter: RollFilter }
  /** `detail` names the value and what would be allowed. */
  | { readonly ok: false; readonly detail: string };

/**
 * Reads `?cluster=&health=&presence=&az=`. Each takes several values, with commas or by repeating it. Without
 * `presence` it is the present nodes that are asked for, as in `rollcall list`; `presence=all` asks for all.
 */
export function parseRollQuery(query: URLSearchParams): ParsedQuery {
  try {
    for (const name of query.keys()) {
      if (!PARAMETERS.includes(name)) throw new Refused(`unknown parameter ${quote(name)}; ${allowed(PARAMETERS)}`);
    }
    const presence = picked(query, 'presence', [...PRESENCE_STATES, 'all']) ?? new Set(['present']);
    return {
      ok: true,
      filter: {
        cluster: values(query, 'cluster'),
        health: picked(query, 'health', HEALTH_STATUSES),
        presence: presence.has('all') ? null : new Set(PRESENCE_STATES.filter((state) => presence.has(state))),
        az: values(query, 'az'),
      },
    };
  } catch (error) {
    if (error instanceof Refused) return { ok: false, detail: error.message };
    throw error;
  }
}

class Refused extends Error {}

function values(query: URLSearchParams, name: string): ReadonlySet<string> | null {
  if (!query.has(name)) return null;
  const found = query.getAll(name).flatMap((list) => list.split(','));
  if (found.includes('')) throw new Refused(`${name} has an empty value; give it a value or leave it out`);
  return new Set(found);
}

function picked<T extends string>(query: URLSearchParams, name: string, known: readonly T[]): ReadonlySet<T> | null {
  const found = values(query, name);
  for (const value of found ?? []) {
    if (!(known as readonly string[]).includes(value)) {
      throw new Refused(`${name} ${quote(value)} is not known; ${allowed(known)}`);
    }
  }
  return found as ReadonlySet<T> | null;
}

function allowed(names: readonly string[]): string {
  return `allowed: ${names.join(', ')}`;
}

function quote(value: string): string {
  return JSON.stringify(value.slice(0, 64));
}
