import { DeadlineError } from '../../lib/deadline.ts';
import { describeError, RollcallError } from '../../lib/errors.ts';
import { type CloudEvent, cloudEvent } from '../../record/cloud-event.ts';
import type { EventKind, RollEvent } from '../../record/events.ts';
import type { Registry, RegistryHistory } from '../../registry/registry.ts';
import { entityTag } from '../entity-tag.ts';
import { parseNodeEventsQuery } from '../query.ts';
import { type Handler, jsonList, problem } from '../reply.ts';
import { refuseInstanceId, unavailable } from './roll-routes.ts';

/**
 * The events of one node that the agent has in its log, newest first. A node that is not on the roll may have some: that it
 * was forgotten is one.
 */
export function nodeEvents(registry: Pick<Registry, 'history' | 'storeId'>): Handler {
  return async ({ path, params, query, signal }) => {
    const id = params['id'] ?? '';
    const refused = refuseInstanceId(id, path);
    if (refused) return refused;
    const parsed = parseNodeEventsQuery(query);
    if (!parsed.ok) return problem(400, parsed.detail, { instance: path });
    const { kinds, limit } = parsed.value;
    try {
      const storeId = await registry.storeId(signal);
      // Without waiting after it: the log goes on.
      const history = await registry.history(signal);
      const found = eventsOf(id, kinds, history, storeId);
      const events = found.slice(0, limit);
      const { begunAtMs, sinceMs, revision, ageMs, stale } = history;
      const meta = {
        omitted: found.length - events.length,
        since: new Date(sinceMs).toISOString(),
        begun: new Date(begunAtMs).toISOString(),
        revision,
        stale,
      };
      const rest = JSON.stringify({ ...meta, ageMs });
      const told = events.map(({ source, id: eventId, time }) => [source, eventId, time]);
      return {
        status: 200,
        contentType: 'application/json',
        body: jsonList('{"events":[', events, `],${rest.slice(1)}\n`),
        ...(stale ? {} : { etag: entityTag([told, meta]) }),
      };
    } catch (error) {
      // A store outage, or the agent is stopping.
      if (error instanceof RollcallError || error instanceof DeadlineError)
        return unavailable(describeError(error), path);
      throw error;
    }
  };
}

function eventsOf(
  id: string,
  kinds: ReadonlySet<EventKind> | null,
  { batches, begunAtMs }: RegistryHistory,
  storeId: string,
): readonly CloudEvent[] {
  const isWanted = (event: RollEvent) => subjectNode(event) === id && (kinds === null || kinds.has(event.kind));
  return batches.flatMap(({ events, atMs = begunAtMs }) =>
    events
      .filter(isWanted)
      .reverse()
      .map((event) => cloudEvent(event, storeId, atMs)),
  );
}

/** null: the event is about the whole roll, or about a container instance that no node is known of. */
function subjectNode(event: RollEvent): string | null {
  if ('instanceId' in event) return event.instanceId;
  return 'difference' in event ? event.difference.instanceId : null;
}
