import { isDeepStrictEqual } from 'node:util';
import type { RollCloudEvent } from '../../src/client/types.ts';
import { applyEvent } from '../../src/client/watch.ts';
import { type InstanceJson, instanceJson } from '../../src/record/roll.ts';
import type { Store } from '../../src/store/store.ts';

/** All events that a consumer got, in their order, and the roll it makes of them. */
export interface ToldRoll {
  readonly events: readonly RollCloudEvent[];
  readonly instances: ReadonlyMap<string, InstanceJson>;
  take(event: RollCloudEvent): void;
}

export function createToldRoll(): ToldRoll {
  const events: RollCloudEvent[] = [];
  const instances = new Map<string, InstanceJson>();
  return {
    events,
    instances,
    take(event) {
      events.push(event);
      applyEvent(instances, event);
    },
  };
}

/** `registered i-00000001`, with a `*` in a snapshot. */
export function brief(event: RollCloudEvent): string {
  const kind = event.type.split('.').at(-1);
  return [`${kind}${event.snapshot ? '*' : ''}`, ...(event.subject ? [event.subject] : [])].join(' ');
}

/** What a consumer has to know in the end, read from the store itself. */
export async function storedRoll(store: Store): Promise<ReadonlyMap<string, InstanceJson>> {
  const { entries } = await store.read(new AbortController().signal);
  return new Map(entries.map((entry) => [entry.record.ec2InstanceId, instanceJson(entry)]));
}

/** The ids whose nodes differ, in either of the rolls; empty: they are the same. */
export function differences(a: ReadonlyMap<string, InstanceJson>, b: ReadonlyMap<string, InstanceJson>): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].filter((id) => !isDeepStrictEqual(a.get(id), b.get(id)));
}
