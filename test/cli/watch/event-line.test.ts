import assert from 'node:assert/strict';
import { test } from 'node:test';
import { terminalLine } from '../../../src/cli/watch/event-line.ts';
import { type CloudEvent, cloudEvent } from '../../../src/record/cloud-event.ts';
import { diffEntry } from '../../../src/record/events.ts';
import type { NodeRecord } from '../../../src/record/record.ts';
import type { RollEntry } from '../../../src/record/roll.ts';
import { sampleRecord } from '../../support/sample-record.ts';

const PRESENCE = { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
const ID = 'i-00000001';

function node(overrides: Partial<NodeRecord> = {}, isPresent = true): RollEntry {
  const record = sampleRecord({ ec2InstanceId: ID, privateIpAddress: '10.113.0.25', ...overrides });
  return { record, presence: isPresent ? PRESENCE : null };
}

const ill = (status: 'warning' | 'critical', reason: string) => ({
  health: { status, since: '', checks: [{ name: 'docker', status, reason, since: '' }] },
});

/** The line of a change, and the colour of its kind. */
function shown(before: RollEntry | null, after: RollEntry | null): readonly [string, string | undefined] {
  const [event] = diffEntry(ID, before, after, '7');
  assert.ok(event);
  return pieces(cloudEvent(event, 'store', 0));
}

function pieces(event: CloudEvent): readonly [string, string | undefined] {
  const line = terminalLine(event, '12:48:27');
  return [line.map(({ text }) => text).join(''), line.find(({ colour }) => colour)?.colour];
}

const about = (kind: string, detail: string) =>
  `12:48:27  ${kind.padEnd(12)}  ${ID}  10.113.0.25      demo  ${detail}\n`;

test('a line has the time, what happened, the node and what to know of it', () => {
  assert.deepEqual(shown(node(), node({}, false)), [about('lost', 'last passing'), 'red']);
  const departure = { cause: 'spot-interruption', at: '2026-01-01T00:00:00.000Z' } as const;
  assert.deepEqual(shown(node(), node({ departure }, false)), [about('departed', 'spot-interruption'), 'yellow']);
  assert.deepEqual(shown(null, node()), [about('registered', 'passing'), 'green']);
  assert.deepEqual(shown(node({}, false), node(ill('warning', ''))), [about('recovered', 'warning: docker'), 'green']);
  assert.deepEqual(shown(node(), node(ill('critical', 'no answer'))), [
    about('health', 'passing → critical: docker: no answer'),
    'red',
  ]);
  assert.deepEqual(shown(node(ill('critical', 'x')), node()), [about('health', 'critical → passing'), 'green']);
  const interruption = { kind: 'maintenance', action: null, time: '2026-01-01T02:00:00Z' };
  assert.deepEqual(shown(node(), node({ interruption })), [
    about('interruption', 'maintenance 2026-01-01T02:00:00Z'),
    'yellow',
  ]);
  assert.deepEqual(shown(node({ interruption }), node()), [about('interruption', 'the notice is withdrawn'), 'yellow']);
  assert.deepEqual(shown(node(), node({ containerInstanceArn: null, labels: {} })), [
    about('updated', 'containerInstanceArn, labels'),
    'grey',
  ]);
  assert.deepEqual(shown(node({}, false), null), [about('forgotten', 'its last record is no longer kept'), 'grey']);
});

test('a snapshot is one line, when it is complete; a mass loss says how many', () => {
  const [restated] = diffEntry(ID, null, node(), '7', true);
  assert.ok(restated);
  assert.deepEqual(terminalLine(cloudEvent(restated, 'store', 0), '12:48:27'), []);
  const synced = cloudEvent({ kind: 'synced', revision: '7', entries: [node(), node()] }, 'store', 0);
  assert.deepEqual(pieces(synced), ['12:48:27  connected     2 nodes on the roll at revision 7\n', 'grey']);
  const uncertainty = { vanished: 8, nodes: 10, limitShare: 0.3, limitCount: 5, since: '', until: '' };
  assert.match(
    pieces({ ...synced, type: 'rollcall.roll.uncertain', data: uncertainty })[0],
    / {2}8 of 10 nodes vanished at once; /,
  );
});

test('a loss that may be the store’s fault says so', () => {
  const [lost] = diffEntry(ID, node(), node({}, false), '7');
  assert.ok(lost);
  const event = cloudEvent(lost, 'store', 0);
  const [line] = pieces({ ...event, data: { ...event.data, uncertain: true } as CloudEvent['data'] });
  assert.equal(line, about('lost', 'last passing, uncertain'));
});

test('a difference that the audit found has its kind and reason', () => {
  const difference = {
    ...{
      kind: 'ghost' as const,
      instanceId: ID,
      cluster: 'demo',
      containerInstanceArn: 'arn:x',
      privateIpAddress: null,
    },
    ...{ since: '2026-01-01T00:00:00Z', reason: 'in ECS, not on the roll' },
  };
  const event = { kind: 'difference' as const, key: 'x', revision: '7', snapshot: false, difference };
  const [line] = pieces(cloudEvent(event, 'store', 0));
  assert.match(line, /difference .*i-.* demo .*ghost: in ECS, not on the roll/);
});

test('text of a record is one line and cannot control the terminal', () => {
  const [line] = shown(node(), node(ill('critical', `\u001b[2J\n${'x'.repeat(1_000)}`)));
  assert.ok(!line.includes('\u001b') && line.indexOf('\n') === line.length - 1);
  assert.ok(line.length < 340);
});
