import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EventFilter, filterEvent, parseEventKind } from '../../src/record/cloud-event.ts';
import type { RollEvent } from '../../src/record/events.ts';
import { diffEntry } from '../../src/record/events.ts';
import { EVERY_NODE } from '../../src/record/filter.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleRecord } from '../support/sample-record.ts';

const PRESENCE = { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };

function entry(cluster: string | null): RollEntry {
  return { record: sampleRecord({ ec2InstanceId: 'i-00000001', cluster }), presence: PRESENCE };
}

function filterOf(filter: Partial<EventFilter>): EventFilter {
  return { kinds: null, nodes: EVERY_NODE, ...filter };
}

const only = (cluster: string) => filterOf({ nodes: { ...EVERY_NODE, cluster: new Set([cluster]) } });

function change(before: RollEntry | null, after: RollEntry | null): RollEvent {
  const [event] = diffEntry('i-00000001', before, after, '7');
  assert.ok(event);
  return event;
}

test('readers of either cluster get the event of a node that moves between them, others do not', () => {
  const moved = change(entry('a'), entry('b'));
  assert.deepEqual(
    ['a', 'b', 'c'].map((cluster) => filterEvent(moved, only(cluster)) === moved),
    [true, true, false],
  );
});

test('a cluster’s readers get the events of a node that joins it and of one that is forgotten', () => {
  for (const event of [change(null, entry('a')), change(entry('a'), null), change(entry(null), entry('a'))]) {
    assert.equal(filterEvent(event, only('a')), event);
    assert.equal(filterEvent(event, only('b')), null);
  }
});

test('readers of any cluster get the events of the whole roll, a synced with their own nodes', () => {
  const certain: RollEvent = { kind: 'certain', revision: '7', upTo: '7', part: 0, returned: 1, lost: 0 };
  assert.equal(filterEvent(certain, only('b')), certain);
  const synced: RollEvent = { kind: 'synced', revision: '7', entries: [entry('a'), entry(null)] };
  assert.deepEqual(filterEvent(synced, only('a')), { ...synced, entries: [entry('a')] });
});

test('a reader of a health gets the event with which a node leaves it', () => {
  const critical = {
    ...entry('a'),
    record: { ...entry('a').record, health: { status: 'critical' as const, since: '', checks: [] } },
  };
  const recovered = change(critical, entry('a'));
  const filter = filterOf({ nodes: { ...EVERY_NODE, health: new Set(['critical' as const]) } });
  assert.equal(filterEvent(recovered, filter), recovered);
  assert.equal(filterEvent(change(null, entry('a')), filter), null);
});

test('events of other types are left out', () => {
  const registered = change(null, entry('a'));
  assert.equal(filterEvent(registered, filterOf({ kinds: new Set(['lost']) })), null);
  assert.equal(filterEvent(registered, filterOf({ kinds: new Set(['lost', 'registered']) })), registered);
});

test('a type has a short and a full name', () => {
  assert.deepEqual(
    ['lost', 'rollcall.instance.lost', 'rollcall.roll.synced', 'rollcall.roll.lost', 'Lost', ''].map(parseEventKind),
    ['lost', 'lost', 'synced', undefined, undefined, undefined],
  );
});
