import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { runDrain } from '../../../src/agent/drain/drain-run.ts';
import { createCell } from '../../../src/lib/cell.ts';
import type { NodeRecord } from '../../../src/record/record.ts';
import { createRollStore } from '../../../src/store/roll-store.ts';
import { openMemoryKv } from '../../../src/store/sqlite/sqlite-kv.ts';
import { type FakeAgentEcs, fakeAgentEcs, noAnswer } from '../../support/fake-agent-ecs.ts';
import { keptLog } from '../../support/kept-log.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const MINUTE_MS = 60_000;
const SPOT = { kind: 'spot-interruption', action: 'terminate', time: null };
const never = new AbortController().signal;
const arnOf = (n: number) => `arn:aws:ecs:us-east-1:123456789012:container-instance/demo/${n}`;

/** A cluster with one drain slot. */
async function cluster(t: TestContext) {
  const clock = simulatedClock();
  const random = seededRandom(5);
  const config = { kind: 'memory', label: 'memory:', name: randomUUID() } as const;
  const store = createRollStore(await openMemoryKv(config, { clock, random, bootId: 'boot-1' }));
  t.after(() => store.close());
  const lines: string[] = [];
  const start = async (n: number, ecs: FakeAgentEcs) => {
    const record = sampleRecord({ ec2InstanceId: sampleInstanceId(n), containerInstanceArn: arnOf(n) });
    const registration = { instanceId: record.ec2InstanceId, session: 's', since: '2026-01-01T00:00:00Z' };
    const limits = { ttlMs: 86_400_000, retentionMs: 86_400_000 };
    await store.register({ ...registration, ...limits }, record, { takeover: true, signal: never });
    const cell = createCell<NodeRecord>(record);
    const calls = { take: 0 };
    const slots: typeof store.drainSlots = {
      ...store.drainSlots,
      take(request, signal) {
        calls.take += 1;
        return store.drainSlots.take(request, signal);
      },
    };
    const settings = { on: ['interruption', 'critical'] as const, criticalAfterMs: MINUTE_MS, maxSharePercent: 10 };
    const stop = new AbortController();
    const running = runDrain(
      {
        ...{ config: settings, clock, random, log: keptLog(({ msg }) => lines.push(msg)), session: `${n}`, slots },
        ...{ ecs: async () => ecs, record: cell.get, noticesKnown: () => true, changes: cell },
        ...{ leaving: createCell(false), onStep: () => {} },
      },
      stop.signal,
    ).catch(() => {}); // ended by the test
    t.after(async () => {
      stop.abort(new Error('the test ended'));
      await running;
    });
    const change = (more: Partial<NodeRecord>) => cell.set({ ...cell.get(), ...more });
    const become = (status: 'critical' | 'passing') =>
      change({ health: { status, since: '2026-01-01T00:00:00Z', checks: [] } });
    return { calls, change, become };
  };
  const holders = async () => (await store.drainSlots.list(never)).map(({ instanceId }) => instanceId);
  return { clock, start, holders, lines };
}

test('a critical node that ECS does not have ACTIVE takes a slot a few times an hour, and at once under another ARN', async (t) => {
  const { clock, start, lines } = await cluster(t);
  const ecs = fakeAgentEcs();
  const { calls, change, become } = await start(1, ecs);
  become('critical');
  await clock.advance(61 * MINUTE_MS);
  assert.ok(calls.take >= 5 && calls.take <= 16, `${calls.take} slots taken in an hour`);
  assert.equal(lines.length, 1, lines.join('\n'));
  ecs.add(arnOf(7));
  change({ containerInstanceArn: arnOf(7) });
  await clock.advance(10_000);
  assert.equal(ecs.status(arnOf(7)), 'DRAINING');
});

test('a node that ECS registers late is drained half a minute later', async (t) => {
  const { clock, start } = await cluster(t);
  const ecs = fakeAgentEcs();
  const { change } = await start(1, ecs);
  change({ interruption: SPOT });
  await clock.advance(15_000);
  ecs.add(arnOf(1));
  await clock.advance(30_000);
  assert.equal(ecs.status(arnOf(1)), 'DRAINING');
});

test('a node that cannot reach ECS does not keep the slot from one with a spot notice', async (t) => {
  const { clock, start, holders, lines } = await cluster(t);
  const [away, near] = [fakeAgentEcs(), fakeAgentEcs()];
  away.failing.set('ecs:DescribeContainerInstances', noAnswer('ecs:DescribeContainerInstances'));
  near.add(arnOf(2));
  const [cutOff, other] = [await start(1, away), await start(2, near)];
  cutOff.become('critical');
  await clock.advance(30 * MINUTE_MS);
  const asked = away.calls.length;
  assert.ok(asked < 80, `${asked} requests in half an hour`);
  assert.ok(lines.length <= 3, lines.join('\n'));
  other.change({ interruption: SPOT });
  await clock.advance(90_000);
  assert.equal(near.status(arnOf(2)), 'DRAINING');
  other.change({ interruption: null });
  cutOff.become('passing');
  await clock.advance(10 * MINUTE_MS);
  assert.deepEqual([near.status(arnOf(2)), await holders()], ['ACTIVE', []], 'and the cut-off node holds nothing');
});
