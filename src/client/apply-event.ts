import type { InstanceJson } from '../record/instance-json.ts';
import type { RollCloudEvent } from './roll-cloud-event.ts';

/**
 * Keeps a roll of one's own up to date: what `watch()` tells, applied in order, makes `instances` (by instance id) what
 * `list({ presence: 'all' })` would answer. Changes the map in place, since copying 10,000 nodes for each event would not do.
 * An event that is told again does no harm. Needs all types; a watch on one cluster also tells of nodes that move away.
 */
export function applyEvent(instances: Map<string, InstanceJson>, event: RollCloudEvent): void {
  switch (event.type) {
    case 'rollcall.instance.forgotten':
      instances.delete(event.subject);
      return;
    case 'rollcall.roll.synced': {
      // Its snapshot has told of everybody who is there. Whoever was missed before it is known by not being named.
      const there = new Set(event.data.instanceIds);
      for (const instanceId of instances.keys()) if (!there.has(instanceId)) instances.delete(instanceId);
      return;
    }
    case 'rollcall.roll.uncertain':
    case 'rollcall.roll.certain':
      return; // nobody is told as lost by these
    default:
      instances.set(event.subject, { ...event.data.record, presence: event.data.presence });
  }
}
