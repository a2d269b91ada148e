import { instanceJson } from '../../record/instance-json.ts';
import type { RollEntry } from '../../record/roll.ts';
import { filterRoll } from '../../registry/filter-roll.ts';
import type { Registry, RegistryRead } from '../../registry/registry.ts';
import { parseRollQuery } from '../parse-roll-query.ts';
import { problem } from '../problem.ts';
import { readRoll } from '../read-roll.ts';
import type { Handler } from '../reply.ts';

/** Entries to a piece of the body: about 64 kB, far less than what holds up the loop. */
const PIECE_ENTRIES = 64;

/** The roll, filtered; in an outage the last known one, with its age and `"stale":true`. */
export function containerInstances(registry: Registry): Handler {
  return async (request) => {
    const parsed = parseRollQuery(request.query);
    if (!parsed.ok) return problem(400, parsed.detail, { instance: request.path });
    const read = await readRoll(registry, request);
    if ('status' in read) return read;
    const entries = filterRoll(read.roll.entries, parsed.filter);
    return { status: 200, contentType: 'application/json', body: rollJson(entries, read) };
  };
}

function* rollJson(entries: readonly RollEntry[], { roll, ageMs, stale }: RegistryRead): Iterable<string> {
  yield '{"containerInstances":[';
  for (let first = 0; first < entries.length; first += PIECE_ENTRIES) {
    const piece = entries.slice(first, first + PIECE_ENTRIES).map((entry) => JSON.stringify(instanceJson(entry)));
    yield `${first === 0 ? '' : ','}${piece.join(',')}`;
  }
  const rest = JSON.stringify({ revision: roll.revision, ageMs, stale, skipped: roll.skipped });
  yield `],${rest.slice(1)}\n`;
}
