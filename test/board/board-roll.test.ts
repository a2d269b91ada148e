import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBoardRoll, type EventJson } from '../../src/board/board-roll.ts';
import { type CloudEvent, cloudEvent } from '../../src/record/cloud-event.ts';
import type { RollEvent } from '../../src/record/events.ts';
import { instanceJson, type RollEntry } from '../../src/record/roll.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const PRESENCE = { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
const AT_MS = Date.parse('2026-01-01T00:00:05.000Z');

function entry(n: number, presence: RollEntry['presence'] = PRESENCE): RollEntry {
  return { record: sampleRecord({ ec2InstanceId: sampleInstanceId(n) }), presence };
}

/** The event as it comes over the wire. */
function sent(event: RollEvent): EventJson {
  const whole: CloudEvent = cloudEvent(event, 'store', AT_MS);
  return JSON.parse(JSON.stringify(whole));
}

function lost(n: number, revision: string) {
  const instanceId = sampleInstanceId(n);
  return sent({ kind: 'lost', revision, instanceId, before: entry(n), after: entry(n, null), snapshot: false });
}

function rollOf(...numbers: readonly number[]) {
  const roll = createBoardRoll();
  const containerInstances = numbers.map((n) => instanceJson(entry(n)));
  roll.replace({ containerInstances, revision: '7', uncertainty: null });
  return roll;
}

test('an event changes its node and becomes a line', () => {
  const roll = rollOf(1, 2);
  const before = roll.version;
  roll.apply(lost(1, '8'));
  const node = roll.nodes.get(sampleInstanceId(1));
  assert.deepEqual([node?.mood, node?.since], ['lost', '2026-01-01T00:00:05.000Z']);
  assert.equal(roll.revision, '8');
  assert.ok(roll.version > before);
  const [line] = roll.lines;
  assert.deepEqual([line?.kind, line?.address, line?.text], ['lost', '10.113.0.23', 'last passing']);
});

test('a forgotten node leaves; a list that is read again keeps since when a node is lost', () => {
  const roll = rollOf(1, 2);
  roll.apply(lost(1, '8'));
  const id = sampleInstanceId(2);
  roll.apply(
    sent({ kind: 'forgotten', revision: '9', instanceId: id, before: entry(2), after: null, snapshot: false }),
  );
  assert.equal(roll.nodes.has(id), false);
  const containerInstances = [instanceJson(entry(1, null))];
  roll.replace({ containerInstances, revision: '10', uncertainty: null });
  assert.equal(roll.nodes.get(sampleInstanceId(1))?.since, '2026-01-01T00:00:05.000Z');
});

test('a snapshot is no event, and what is not in it is gone', () => {
  const roll = rollOf(1, 2);
  const instanceId = sampleInstanceId(3);
  roll.apply(sent({ kind: 'registered', revision: '9', instanceId, before: null, after: entry(3), snapshot: true }));
  roll.apply(sent({ kind: 'synced', revision: '9', entries: [entry(2), entry(3)] }));
  assert.deepEqual([...roll.nodes.keys()].sort(), [sampleInstanceId(2), sampleInstanceId(3)]);
  assert.deepEqual(roll.lines, []);
});

test('an uncertainty lasts until it is certain, and says its numbers', () => {
  const roll = rollOf(1);
  const uncertainty = {
    ...{ vanished: 40, nodes: 100, limitShare: 0.3, limitCount: 5 },
    ...{ since: '2026-01-01T00:00:00.000Z', until: '2026-01-01T00:00:30.000Z' },
  };
  roll.apply(sent({ kind: 'uncertain', revision: '9', uncertainty, part: 0 }));
  assert.deepEqual(roll.uncertainty, uncertainty);
  assert.equal(roll.lines[0]?.text, '40 of 100 nodes vanished at once; the store or the network may be what failed');
  roll.apply(sent({ kind: 'certain', revision: '10', upTo: '10', part: 0, returned: 39, lost: 1 }));
  assert.equal(roll.uncertainty, null);
});

test('what the audit finds about a node is a line, and leaves the node as it is', () => {
  const roll = rollOf(1);
  const instanceId = sampleInstanceId(1);
  const difference = {
    ...{ kind: 'mismatch' as const, instanceId, cluster: 'demo', containerInstanceArn: 'arn:x', since: null },
    ...{ privateIpAddress: '10.0.0.9', reason: 'another ARN' },
  };
  roll.apply(sent({ kind: 'difference', key: 'k', revision: '8', difference, snapshot: false }));
  assert.equal(roll.nodes.get(instanceId)?.mood, 'passing');
  const [line] = roll.lines;
  assert.deepEqual(
    [line?.kind, line?.instanceId, line?.address, line?.cluster, line?.text],
    ['difference', instanceId, '10.0.0.9', 'demo', 'mismatch: another ARN'],
  );
});

test('the lines are bounded', () => {
  const roll = rollOf(1);
  for (let revision = 8; revision < 1_000; revision += 1) roll.apply(lost(1, String(revision)));
  assert.equal(roll.lines.length, 500);
  assert.match(roll.lines[0]?.id ?? '', /^999\//);
});
