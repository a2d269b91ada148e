import type { RollEvent } from '../../src/record/events.ts';
import type { RollEntry } from '../../src/record/roll.ts';

/** What a consumer knows: instance id → entry. A `synced` is the whole of it; it says who is not there any more. */
export function applyEvent(known: ReadonlyMap<string, RollEntry>, event: RollEvent): ReadonlyMap<string, RollEntry> {
  const next = new Map(known);
  if (event.kind === 'synced') {
    const there = new Set(event.entries.map((entry) => entry.record.ec2InstanceId));
    for (const instanceId of known.keys()) if (!there.has(instanceId)) next.delete(instanceId);
  } else if ('instanceId' in event) {
    if (event.after) next.set(event.instanceId, event.after);
    else next.delete(event.instanceId);
  }
  return next;
}
