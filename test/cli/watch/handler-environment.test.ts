import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runProgram } from '../../../src/cli/program.ts';
import { handlerEnvironment } from '../../../src/cli/watch/handler.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { cloudEvent } from '../../../src/record/cloud-event.ts';
import type { InstanceEvent, RollEvent } from '../../../src/record/events.ts';
import { sampleRecord } from '../../support/sample-record.ts';

const record = sampleRecord();
const presence = { session: 's', since: record.registeredAt, ttlSeconds: 30 };
const present = { record, presence };
const lost: InstanceEvent = {
  kind: 'lost',
  revision: '42',
  instanceId: record.ec2InstanceId,
  before: present,
  after: { record, presence: null },
  snapshot: false,
};

function environment(event: RollEvent) {
  return handlerEnvironment(event, cloudEvent(event, 'store-1', 0));
}

test('the main fields of an event are variables', () => {
  assert.deepEqual(environment(lost), {
    ROLLCALL_EVENT_TYPE: 'rollcall.instance.lost',
    ROLLCALL_EVENT_ID: '42/i-00000000/lost',
    ROLLCALL_EVENT_REVISION: '42',
    ROLLCALL_EVENT_SNAPSHOT: 'false',
    ROLLCALL_EVENT_INSTANCE_ID: 'i-00000000',
    ROLLCALL_EVENT_CLUSTER: 'demo',
    ROLLCALL_EVENT_IP: '10.113.0.23',
    ROLLCALL_EVENT_ARN: record.containerInstanceArn,
    ROLLCALL_EVENT_HEALTH: 'passing',
    ROLLCALL_EVENT_PRESENCE: 'lost',
    ROLLCALL_EVENT_CAUSE: '',
  });
});

test('a departure tells its cause', () => {
  const departed = { ...record, departure: { cause: 'spot-interruption', at: record.registeredAt } } as const;
  const told = environment({ ...lost, kind: 'departed', after: { record: departed, presence: null } });
  assert.equal(told['ROLLCALL_EVENT_CAUSE'], 'spot-interruption');
  assert.equal(told['ROLLCALL_EVENT_PRESENCE'], 'departed');
});

test('a node that was forgotten still has the address it had, and no presence', () => {
  const told = environment({ ...lost, kind: 'forgotten', after: null });
  assert.equal(told['ROLLCALL_EVENT_IP'], '10.113.0.23');
  assert.equal(told['ROLLCALL_EVENT_PRESENCE'], '');
});

test('every variable is set for every event, so that nothing of an outer event shows through', () => {
  const names = Object.keys(environment(lost));
  const synced = environment({ kind: 'synced', revision: '7', entries: [present] });
  assert.deepEqual(Object.keys(synced), names);
  assert.equal(synced['ROLLCALL_EVENT_INSTANCE_ID'], '');
  assert.equal(synced['ROLLCALL_EVENT_SNAPSHOT'], 'true');
  const certain = environment({ kind: 'certain', revision: '7', part: 0, returned: 1, lost: 2 });
  assert.deepEqual(Object.keys(certain), names);
  assert.equal(certain['ROLLCALL_EVENT_SNAPSHOT'], 'false');
});

test('a hostile record can neither break the start of a program nor forge lines', () => {
  const hostile = sampleRecord({ cluster: 'a\0b\nROLLCALL_STORE=x', privateIpAddress: '1'.repeat(200_000) });
  const told = environment({ ...lost, after: { record: hostile, presence: null } });
  assert.equal(told['ROLLCALL_EVENT_CLUSTER'], 'a?b?ROLLCALL_STORE=x');
  assert.equal(told['ROLLCALL_EVENT_IP']?.length, 4_096);
});

test('no flag of any command has a variable that begins like an event’s', async () => {
  for (const command of ['agent', 'list', 'show', 'watch', 'simulate']) {
    let help = '';
    const write = process.stdout.write;
    process.stdout.write = ((text: string) => {
      help += text;
      return true;
    }) as typeof write;
    try {
      await runProgram([command, '--help'], {
        env: {},
        version: 'test',
        clock: systemClock,
        random: () => 0,
        stdout: async () => {},
        stderr: () => {},
        onStopSignal: () => {},
        signal: new AbortController().signal,
        self: [],
      });
    } finally {
      process.stdout.write = write;
    }
    assert.match(help, /env: ROLLCALL_STORE/);
    assert.doesNotMatch(help, /env: ROLLCALL_EVENT_/);
  }
});
