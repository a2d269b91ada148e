import type { RollEvent } from '../../src/record/events.ts';
import type { RollEntry } from '../../src/record/roll.ts';

/** Changes what a consumer knows: instance id → entry. A `synced` is the whole of it: nodes that it does not have are gone. */
export function applyEvent(known: Map<string, RollEntry>, event: RollEvent): Map<string, RollEntry> {
  if (event.kind === 'synced') {
    const there = new Set(event.entries.map((entry) => entry.record.ec2InstanceId));
    for (const instanceId of known.keys()) if (!there.has(instanceId)) known.delete(instanceId);
  } else if ('instanceId' in event) {
    if (event.after) known.set(event.instanceId, event.after);
    else known.delete(event.instanceId);
  }
  return known;
}
