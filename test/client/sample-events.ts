import type { RollCloudEvent } from '../../src/client/types.ts';
import { cloudEvent } from '../../src/record/cloud-event.ts';
import type { RollEvent } from '../../src/record/events.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

export function sampleEntry(n: number, present = true): RollEntry {
  const record = sampleRecord({ ec2InstanceId: sampleInstanceId(n) });
  return { record, presence: present ? { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 } : null };
}

export function told(event: RollEvent): RollCloudEvent {
  return cloudEvent(event, 'test', Date.UTC(2026, 0, 1)) as RollCloudEvent;
}

/** The event of node `n` at `revision`, in a snapshot or as a change. */
export function registered(revision: number, n: number, snapshot = false): RollCloudEvent {
  const instanceId = sampleInstanceId(n);
  return told({
    kind: 'registered',
    revision: String(revision),
    instanceId,
    before: null,
    after: sampleEntry(n),
    snapshot,
  });
}

export function lost(revision: number, n: number): RollCloudEvent {
  const instanceId = sampleInstanceId(n);
  const [before, after] = [sampleEntry(n), sampleEntry(n, false)];
  return told({ kind: 'lost', revision: String(revision), instanceId, before, after, snapshot: false });
}

export function forgotten(revision: number, n: number): RollCloudEvent {
  const instanceId = sampleInstanceId(n);
  const before = sampleEntry(n, false);
  return told({ kind: 'forgotten', revision: String(revision), instanceId, before, after: null, snapshot: false });
}

export function synced(revision: number, ...nodes: readonly number[]): RollCloudEvent {
  return told({ kind: 'synced', revision: String(revision), entries: nodes.map((n) => sampleEntry(n)) });
}

/** The event as an agent sends it. */
export function eventText(event: RollCloudEvent, id?: string): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n${id === undefined ? '' : `id: ${id}\n`}\n`;
}
