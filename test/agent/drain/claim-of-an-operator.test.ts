import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { runDrain } from '../../../src/agent/drain/drain-run.ts';
import { drainByHand, planHandDrain, planHandUndrain, undrainByHand } from '../../../src/cli/drain-by-hand.ts';
import type { DrainPhase } from '../../../src/http/agent-report.ts';
import { createCell } from '../../../src/lib/cell.ts';
import type { NodeRecord } from '../../../src/record/record.ts';
import { createRollStore } from '../../../src/store/roll-store.ts';
import { openMemoryKv } from '../../../src/store/sqlite/sqlite-kv.ts';
import { fakeAgentEcs, noAnswer } from '../../support/fake-agent-ecs.ts';
import { silentLog } from '../../support/kept-log.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const DAY_MS = 86_400_000;
const SPOT = { kind: 'spot-interruption', action: 'terminate', time: null };
const CRITICAL: NodeRecord['health'] = { status: 'critical', since: '2026-01-01T00:00:00Z', checks: [] };

/** An idle agent that drains for notices alone, and an operator. */
async function start(t: TestContext, on: readonly ['interruption', 'critical'?] = ['interruption']) {
  const { signal } = new AbortController();
  const simulated = simulatedClock();
  let shortestSleepMs = 0;
  const clock = {
    ...simulated,
    sleep: (delayMs: number, signal: AbortSignal) => simulated.sleep(Math.max(delayMs, shortestSleepMs), signal),
  };
  const random = seededRandom(7);
  const config = { kind: 'memory', label: 'memory:', name: t.name.replaceAll(/\W/g, '-') } as const;
  const kv = await openMemoryKv(config, { clock, random, bootId: 'boot-1' });
  const store = createRollStore(kv);
  const instanceId = sampleInstanceId(1);
  const arn = 'arn:aws:ecs:us-east-1:1:container-instance/demo/1';
  const cell = createCell<NodeRecord>(sampleRecord({ ec2InstanceId: instanceId, containerInstanceArn: arn }));
  const registration = { instanceId, session: 's', since: '2026-01-01T00:00:00Z', ttlMs: 30 * DAY_MS };
  const lasting = { ...registration, retentionMs: 30 * DAY_MS };
  await store.register(lasting, cell.get(), { takeover: true, signal });
  const ecs = fakeAgentEcs();
  ecs.add(arn);
  let seen: { phase: DrainPhase; reason: string } | null = null;
  const stop = new AbortController();
  const causes = on.flatMap((cause) => cause ?? []);
  const running = runDrain(
    {
      ...{ config: { on: causes, criticalAfterMs: 300_000, maxSharePercent: 10 }, clock, random },
      ...{ log: silentLog, session: 'agent', slots: store.drainSlots, ecs: async () => ecs },
      ...{ record: cell.get, noticesKnown: () => true, changes: cell, leaving: createCell(false) },
      onStep: ({ phase, reason }) => {
        seen = { phase, reason };
      },
    },
    stop.signal,
  ).catch(() => {});
  t.after(async () => {
    stop.abort(new Error('the test ended'));
    await running;
    await store.close();
  });
  const target = { instanceId, arn, cluster: 'demo' };
  const deps = { slots: store.drainSlots, ecs, clock, kept: { label: null, note: null } };
  const held = () => store.drainSlots.read(instanceId, signal);
  const facts = async () => ({ claim: await held(), status: ecs.status(arn) ?? '', force: false });
  const operator = {
    async drain() {
      const known = await facts();
      const plan = planHandDrain({ ...known, target, room: { free: true, reason: '' } });
      assert.ok(plan.kind === 'drain');
      const reason = 'drained by hand: kernel update';
      const claim = { phase: 'manual' as const, arn, cluster: 'demo', reason, since: 's', session: 'by-hand' };
      await drainByHand(deps, target, plan, known.claim, { claim, maxSharePercent: 10 }, signal);
    },
    async undrain() {
      const known = await facts();
      const plan = planHandUndrain({ ...known, target, record: cell.get() });
      assert.ok(plan.kind === 'undrain');
      await undrainByHand(deps, target, plan, known.claim, cell.get(), signal);
    },
  };
  const record = (more: Partial<NodeRecord>) => cell.set({ ...cell.get(), ...more });
  const revision = async () => (await kv.txn({ guards: [], puts: [], deletes: [], reads: [] }, signal)).revision;
  const says = () => seen;
  /** From its next sleep on, the agent wakes this seldom. */
  const slowDown = (sleepMs: number) => {
    shortestSleepMs = sleepMs;
  };
  return { clock, ecs, slowDown, operator, record, held, says, revision, inEcs: () => ecs.status(arn) };
}

test('an idle agent learns of a drain by hand, says so, and holds its slot for longer than 7 days', async (t) => {
  const { clock, slowDown, operator, held, says, inEcs } = await start(t);
  await clock.advance(60_000);
  assert.equal(says()?.phase, 'idle');
  await operator.drain();
  await clock.advance(300_000);
  assert.deepEqual(says(), { phase: 'left-alone', reason: 'drained by hand: kernel update' });
  // The same for 8 days as each 30 s, in a twentieth of the steps.
  slowDown(600_000);
  for (let hours = 0; hours < 8 * 24; hours += 1) await clock.advance(3_600_000);
  assert.deepEqual([(await held())?.claim.phase, inEcs()], ['manual', 'DRAINING']);
  slowDown(0);
  await clock.advance(600_000);
  await operator.undrain();
  await clock.advance(30_000);
  assert.equal(says()?.phase, 'idle');
});

test('an idle agent reads its claim each 5 minutes and writes nothing', async (t) => {
  const { clock, revision } = await start(t);
  await clock.advance(60_000);
  const before = await revision();
  await clock.advance(3_600_000);
  assert.equal(await revision(), before);
});

for (const [when, pauseMs] of [
  ['at once', 1_000],
  ['after an hour', 3_600_000],
] as const) {
  test(`a spot notice ${when} after a drain and undrain by hand of a critical node drains it`, async (t) => {
    const { clock, operator, record, held, says, inEcs } = await start(t);
    await clock.advance(60_000);
    record({ health: CRITICAL });
    await operator.drain();
    await operator.undrain();
    assert.equal((await held())?.claim.phase, 'overruled');
    record({ health: { ...CRITICAL, status: 'passing' } });
    await clock.advance(pauseMs);
    record({ interruption: SPOT });
    await clock.advance(15_000);
    assert.deepEqual([inEcs(), says()?.phase], ['DRAINING', 'draining']);
  });
}

test('the cause for which an operator undrained the node does not drain it, and the next one does', async (t) => {
  const { clock, operator, record, says, inEcs } = await start(t, ['interruption', 'critical']);
  record({ health: CRITICAL });
  await clock.advance(400_000);
  assert.equal(inEcs(), 'DRAINING');
  await operator.undrain();
  await clock.advance(3_600_000);
  assert.deepEqual([inEcs(), says()?.phase], ['ACTIVE', 'left-alone']);
  record({ interruption: SPOT });
  await clock.advance(15_000);
  assert.deepEqual([inEcs(), says()?.phase], ['DRAINING', 'draining']);
});

test('an agent whose request had no answer does not drain a node that was drained and undrained by hand meanwhile', async (t) => {
  const { clock, ecs, operator, record, held, says, inEcs } = await start(t);
  ecs.failing.set('ecs:UpdateContainerInstancesState', noAnswer('x'));
  record({ interruption: SPOT });
  await clock.advance(60_000);
  assert.equal((await held())?.claim.phase, 'asked');
  await assert.rejects(operator.drain(), /no answer/);
  await operator.undrain();
  ecs.failing.clear();
  await clock.advance(60_000);
  assert.deepEqual([inEcs(), (await held())?.claim.phase, says()?.phase], ['ACTIVE', 'overruled', 'left-alone']);
});
