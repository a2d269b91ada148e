import { instanceJson } from '../../record/instance-json.ts';
import { filterRoll } from '../../registry/filter-roll.ts';
import type { Registry } from '../../registry/registry.ts';
import { jsonList } from '../json-list.ts';
import { parseRollQuery } from '../parse-roll-query.ts';
import { problem } from '../problem.ts';
import { readRoll } from '../read-roll.ts';
import type { Handler } from '../reply.ts';

/** The roll, filtered; in an outage the last known one, with its age and `"stale":true`. */
export function containerInstances(registry: Pick<Registry, 'read'>): Handler {
  return async (request) => {
    const parsed = parseRollQuery(request.query);
    if (!parsed.ok) return problem(400, parsed.detail, { instance: request.path });
    const read = await readRoll(registry, request);
    if ('status' in read) return read;
    const { roll, ageMs, stale, uncertainty } = read;
    const entries = filterRoll(roll.entries, parsed.value);
    const rest = JSON.stringify({ revision: roll.revision, ageMs, stale, uncertainty, skipped: roll.skipped });
    const body = jsonList('{"containerInstances":[', entries, `],${rest.slice(1)}\n`, instanceJson);
    return { status: 200, contentType: 'application/json', body };
  };
}
