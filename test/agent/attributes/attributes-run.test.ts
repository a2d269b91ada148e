import assert from 'node:assert/strict';
import { test } from 'node:test';
import { READ_AGAIN_MS } from '../../../src/agent/attributes/attributes-plan.ts';
import { runAttributes } from '../../../src/agent/attributes/attributes-run.ts';
import type { Attribute } from '../../../src/ecs/ecs-api.ts';
import { createCell } from '../../../src/lib/cell.ts';
import { fakeAgentEcs } from '../../support/fake-agent-ecs.ts';
import { silentLog } from '../../support/kept-log.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const AGENTS = 600;
const SPREAD_MS = 30_000;

test('a fleet that starts at once asks ECS over 30 s, writes only what ECS lacks, and reads again over 3 hours', async () => {
  const clock = simulatedClock();
  const random = seededRandom(7);
  const ecs = fakeAgentEcs();
  const perSecond = new Map<string, number>();
  const count = (action: string) => {
    const key = `${action} ${Math.floor(clock.monotonicMs() / 1_000)}`;
    perSecond.set(key, (perSecond.get(key) ?? 0) + 1);
  };
  const counted = {
    ...ecs,
    describeContainerInstances: (...args: Parameters<typeof ecs.describeContainerInstances>) => {
      count('read');
      return ecs.describeContainerInstances(...args);
    },
    putAttributes: (...args: Parameters<typeof ecs.putAttributes>) => {
      count('write');
      return ecs.putAttributes(...args);
    },
  };
  const stop = new AbortController();
  const running = Array.from({ length: AGENTS }, (_, n) => {
    const ec2InstanceId = sampleInstanceId(n);
    const containerInstanceArn = `arn:aws:ecs:us-east-1:1:container-instance/demo/${n}`;
    const record = sampleRecord({ ec2InstanceId, containerInstanceArn, machineId: null, labels: {} });
    // Every second one was here before, and ECS still has what it wrote.
    ecs.add(containerInstanceArn, n % 2 === 0 ? { attributes: [{ name: 'rollcall.health', value: 'passing' }] } : {});
    return runAttributes(
      {
        ...{ clock, random, log: silentLog, ecs: async () => counted, spreadMs: SPREAD_MS },
        ...{ record: () => record, changes: [], leaving: createCell(false), onStep: () => {} },
      },
      stop.signal,
    ).catch(() => {});
  });
  await clock.advance(SPREAD_MS + 1);
  const puts = ecs.calls.filter((call) => call.startsWith('put'));
  assert.deepEqual([ecs.calls.filter((call) => call === 'describe').length, puts.length], [AGENTS, AGENTS / 2]);
  const most = Math.max(...perSecond.values());
  assert.ok(most < (3 * AGENTS) / 30, `${most} requests of one kind in one second`);
  perSecond.clear();
  await clock.advance(READ_AGAIN_MS);
  const later = ecs.calls.slice(1.5 * AGENTS);
  assert.ok(later.length >= AGENTS && later.every((call) => call === 'describe'), `${later.length} calls`);
  assert.ok(Math.max(...perSecond.values()) <= 3, 'evenly');
  stop.abort(new Error('the test ended'));
  await Promise.all(running);
});

test('leaving does not wait for a read that hangs, nor long for a deregistration that does', async (t) => {
  const clock = simulatedClock();
  const ecs = fakeAgentEcs();
  const record = sampleRecord();
  const stop = new AbortController();
  t.after(() => stop.abort(new Error('the test ended')));
  const hang = () => new Promise<never>(() => {});
  ecs.describeContainerInstances = hang;
  let written: readonly Attribute[] = [];
  ecs.putAttributes = (_, __, attributes) => {
    written = attributes;
    return hang();
  };
  const leaving = createCell(false);
  let ended = false;
  const running = runAttributes(
    {
      ...{ clock, random: () => 0, log: silentLog, ecs: async () => ecs, spreadMs: SPREAD_MS },
      ...{ record: () => record, changes: [], leaving, onStep: () => {} },
    },
    stop.signal,
  ).then(() => {
    ended = true;
  });
  running.catch(() => {}); // aborted by the end of a test that failed
  await clock.advance(1_000);
  leaving.set(true);
  await clock.advance(0);
  assert.deepEqual(written, [{ name: 'rollcall.health', value: 'departed' }]);
  await clock.advance(1_499);
  assert.equal(ended, false);
  await clock.advance(1);
  assert.equal(ended, true);
});
