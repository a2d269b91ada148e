import { presenceState, type RollEntry } from '../../record/roll.ts';
import { filterRoll } from '../../registry/filter-roll.ts';
import type { Registry } from '../../registry/registry.ts';
import { jsonList } from '../json-list.ts';
import { parseTargetsQuery } from '../parse-targets-query.ts';
import { problem } from '../problem.ts';
import { readRoll } from '../read-roll.ts';
import type { Handler } from '../reply.ts';
import { targetGroup } from '../target-group.ts';

/**
 * The nodes as scrape targets, for Prometheus' http_sd: https://prometheus.io/docs/prometheus/latest/http_sd/. It
 * replaces all its targets with each answer and keeps them through a failure: so always the full list, and a 503 where
 * that is not known. Nodes whose loss is uncertain stay, for a hiccup of the store must not end their scraping.
 */
export function targets(registry: Pick<Registry, 'read'>): Handler {
  return async (request) => {
    const parsed = parseTargetsQuery(request.query);
    if (!parsed.ok) return problem(400, parsed.detail, { instance: request.path });
    const read = await readRoll(registry, request);
    if ('status' in read) return read;
    const { filter, port } = parsed.value;
    const isHeld = (entry: RollEntry) => read.held.has(entry.record.ec2InstanceId);
    const groups = filterRoll(read.roll.entries, { ...filter, presence: null })
      .filter((entry) => !filter.presence || filter.presence.has(isHeld(entry) ? 'present' : presenceState(entry)))
      .map((entry) =>
        targetGroup(entry.record, isHeld(entry) ? 'uncertain' : presenceState(entry), port ?? request.port),
      )
      .filter((group) => group !== null);
    return { status: 200, contentType: 'application/json', body: jsonList('[', groups, ']\n') };
  };
}
