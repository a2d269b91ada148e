import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFleetStatus } from '../../src/client/status-answer.ts';
import { parseCloudEvent, parseRollList, UnreadableEventError } from '../../src/client/wire.ts';
import { FieldError } from '../../src/record/codec.ts';
import { instanceJson } from '../../src/record/roll.ts';
import { forgotten, lost, registered, sampleEntry, synced } from './sample-events.ts';
import { EMPTY_LIST } from './scripted-agent.ts';

/** Ends a line, sets a terminal's title, turns text round, hides itself. */
const HOSTILE = 'x\u001b]0;owned\u0007\nwarning: all is well\u202e\u009b2J\u{e0041}';
const UNSAFE = /[\p{Cc}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}]/u;

/** All texts of a value, its keys included. */
function texts(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => [key, ...texts(each)]);
}

function assertPrintable(value: unknown): void {
  assert.deepEqual(
    texts(value).filter((text) => UNSAFE.test(text)),
    [],
  );
}

test('no text of an agent’s list can control a terminal, whichever field it is in', () => {
  const node = instanceJson(sampleEntry(1));
  const presence = { ...node.presence, session: HOSTILE, since: HOSTILE };
  const list = parseRollList(
    JSON.stringify({
      ...EMPTY_LIST,
      containerInstances: [{ ...node, presence }, { ec2InstanceId: HOSTILE }],
      skipped: [{ key: HOSTILE, reason: HOSTILE }],
      notes: [HOSTILE],
      next: HOSTILE,
      revision: HOSTILE,
      uncertainty: { vanished: 1, nodes: 2, limitShare: 0.3, limitCount: 3, since: HOSTILE, until: HOSTILE },
    }),
  );
  assert.deepEqual([list.containerInstances.length, list.skipped.length], [1, 2]);
  assertPrintable(list);
});

test('nor can one of its events; an event about what is no instance is refused', () => {
  const parse = (event: object, more: object) => parseCloudEvent(JSON.stringify({ ...event, ...more }));
  const shared = { id: HOSTILE, source: HOSTILE, time: HOSTILE, revision: HOSTILE };
  for (const event of [registered(7, 1), lost(8, 1), synced(9, 1)]) assertPrintable(parse(event, shared));
  for (const subject of [HOSTILE, '', '-oProxyCommand=x', '__proto__', undefined]) {
    assert.throws(() => parse(lost(8, 1), { subject }), FieldError, String(subject));
  }
  assert.throws(() => parse(synced(9, 1), { data: { instanceIds: [HOSTILE] } }), FieldError);
  assert.throws(() => parse(synced(9, 1), { data: { instanceIds: [{}] } }), FieldError);
  const { record } = (registered(7, 1) as Extract<ReturnType<typeof registered>, { subject: string }>).data;
  const other = { data: { record: { ...record, ec2InstanceId: 'i-99999999' }, previous: null, presence: null } };
  assert.throws(() => parse(registered(7, 1), other), FieldError);
});

test('an event of a node that cannot be read is named, its deletion is not missed, and one of the whole roll is an error', () => {
  const parse = (event: object) => parseCloudEvent(JSON.stringify(event));
  const newer = { ...sampleEntry(1).record, schemaVersion: 2 };
  const reason = 'schemaVersion 2 is newer than 1; upgrade this reader';
  for (const data of [{ ...lost(8, 1).data, record: newer }, { ...lost(8, 1).data, presence: 7 }, 7]) {
    assert.throws(
      () => parse({ ...lost(8, 1), data }),
      (error: Error) => error instanceof UnreadableEventError && error.skipped.key === 'i-00000001',
    );
  }
  assert.throws(() => parse({ ...lost(8, 1), data: { ...lost(8, 1).data, record: newer } }), {
    skipped: { key: 'i-00000001', reason },
  });
  // What the audit says of a node is not its record: the node stays.
  const audited = { ...lost(8, 1), type: 'rollcall.audit.difference', data: { kind: 'a kind of the future' } };
  assert.throws(
    () => parse(audited),
    (error: Error) => error instanceof UnreadableEventError && error.skipped.key === 'rollcall.audit.difference',
  );
  const gone = parse({ ...forgotten(9, 1), data: { ...forgotten(9, 1).data, previous: newer } });
  assert.deepEqual(gone, { ...forgotten(9, 1), data: { ...forgotten(9, 1).data, previous: null } });
  for (const broken of [
    { ...synced(9, 1), data: {} },
    { ...lost(8, 1), revision: 8 },
    { ...lost(8, 1), subject: 'x' },
  ]) {
    assert.throws(
      () => parse(broken),
      (error: Error) => error instanceof FieldError && !(error instanceof UnreadableEventError),
    );
  }
});

test('nor can its status, and an address in it is one', () => {
  const node = { ec2InstanceId: 'i-00000001', privateIpAddress: '10.0.0.1', cluster: 'demo', availabilityZone: 'a' };
  const counts = { present: 1, passing: 1, warning: 0, critical: 0, lost: 0, departed: 0 };
  const odd = { ...node, health: 'passing', cluster: HOSTILE, availabilityZone: HOSTILE };
  const status = {
    ...{ revision: HOSTILE, ageMs: 1, stale: false, uncertainty: null, nodes: counts, notes: [HOSTILE] },
    groups: [{ ...counts, cluster: HOSTILE, availabilityZone: HOSTILE }],
    lost: [{ ...odd, privateIpAddress: '-oProxyCommand=x' }],
    departed: [{ ...odd, cause: HOSTILE, at: HOSTILE }],
    unhealthy: [{ ...odd, check: HOSTILE, reason: HOSTILE, since: HOSTILE }],
    notices: [{ ...odd, kind: HOSTILE, action: HOSTILE, time: HOSTILE }],
    store: { url: HOSTILE, id: HOSTILE, version: HOSTILE, members: [HOSTILE], leader: HOSTILE },
    drains: [{ ...node, reason: HOSTILE, cluster: HOSTILE, phase: HOSTILE, since: HOSTILE }],
    audit: null,
  };
  const parsed = parseFleetStatus(JSON.stringify(status));
  assertPrintable(parsed);
  assert.equal(parsed.lost[0]?.privateIpAddress, null);
  assert.equal(parsed.departed[0]?.privateIpAddress, '10.0.0.1');
  const lostAs = (ec2InstanceId: string) => JSON.stringify({ ...status, lost: [{ ...odd, ec2InstanceId }] });
  assert.throws(() => parseFleetStatus(lostAs(HOSTILE)), FieldError);
});

test('a field that this reader refuses and the agent did not is in the notes, like those that the agent refused', () => {
  const odd = { ...instanceJson(sampleEntry(1)), privateIpAddress: 'localhost' };
  const { containerInstances, notes } = parseRollList(
    JSON.stringify({ ...EMPTY_LIST, containerInstances: [odd, instanceJson(sampleEntry(2))], notes: ['of the agent'] }),
  );
  assert.equal(containerInstances[0]?.privateIpAddress, null);
  assert.deepEqual(notes, ['of the agent', 'the record of i-00000001 has an invalid privateIpAddress']);
});
