import { UsageError } from '../errors.ts';
import { parseRollQuery } from '../http/parse-roll-query.ts';
import type { ListOptions } from './rollcall-client.ts';

const CRITERIA = ['cluster', 'health', 'presence', 'az'] as const;

/** The criteria as the query of `/v1/containerInstances`, which says what they mean. @throws UsageError */
export function listQuery(options: ListOptions): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of CRITERIA) {
    const accepted = options[name];
    if (accepted === undefined) continue;
    const values = [accepted].flat();
    if (values.length === 0) throw new UsageError(`${name} is empty; give it a value or leave it out`);
    for (const value of values) query.append(name, value);
  }
  const parsed = parseRollQuery(query);
  if (!parsed.ok) throw new UsageError(parsed.detail);
  return query;
}
