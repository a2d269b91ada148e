import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RollCloudEvent } from '../../src/client/types.ts';
import { applyEvent } from '../../src/client/watch.ts';
import type { InstanceJson } from '../../src/record/roll.ts';
import { instanceJson } from '../../src/record/roll.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { forgotten, lost, registered, sampleEntry, synced, told } from './sample-events.ts';

function apply(...events: readonly RollCloudEvent[]): Map<string, InstanceJson> {
  const instances = new Map<string, InstanceJson>();
  for (const event of events) applyEvent(instances, event);
  return instances;
}

const node = (n: number, present = true): [string, InstanceJson] => [
  sampleInstanceId(n),
  instanceJson(sampleEntry(n, present)),
];

test('events make the map equal to a list: a lost node stays, a forgotten one is removed', () => {
  const events = [registered(2, 1), registered(3, 2), lost(4, 1), lost(5, 2), forgotten(6, 2)];
  assert.deepEqual(apply(...events), new Map([node(1, false)]));
});

test('a synced event removes the nodes that it does not name', () => {
  const events = [registered(2, 1), registered(3, 2), registered(9, 2, true), registered(9, 3, true), synced(9, 2, 3)];
  assert.deepEqual(apply(...events), new Map([node(2), node(3)]));
  assert.deepEqual(apply(registered(2, 1), synced(9)), new Map());
});

test('a repeated event, and events about a mass loss, change nothing', () => {
  const uncertainty = { vanished: 6, nodes: 10, limitShare: 0.3, limitCount: 5, since: '', until: '' };
  const extra = [
    told({ kind: 'uncertain', revision: '4', uncertainty, part: 0 }),
    told({ kind: 'certain', revision: '5', upTo: '5', part: 0, returned: 6, lost: 0 }),
  ];
  const events = [registered(2, 1), registered(2, 1), ...extra, forgotten(6, 2), forgotten(6, 2)];
  assert.deepEqual(apply(...events), new Map([node(1)]));
});
