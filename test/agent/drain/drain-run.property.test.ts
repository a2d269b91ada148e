import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { runDrain } from '../../../src/agent/drain/drain-run.ts';
import {
  drainByHand,
  planHandDrain,
  planHandUndrain,
  readStatus,
  undrainByHand,
} from '../../../src/cli/drain-by-hand.ts';
import { createCell } from '../../../src/lib/cell.ts';
import type { NodeRecord } from '../../../src/record/record.ts';
import { type DrainClaim, decideRoom } from '../../../src/store/drain-slots.ts';
import { createRollStore } from '../../../src/store/roll-store.ts';
import { openMemoryKv } from '../../../src/store/sqlite/sqlite-kv.ts';
import { fakeAgentEcs, noAnswer } from '../../support/fake-agent-ecs.ts';
import { flakyStore } from '../../support/flaky-store.ts';
import { silentLog } from '../../support/kept-log.ts';
import { fewerInQuickRun } from '../../support/quick-run.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const NODES = 12;
const SPOT = { kind: 'spot-interruption', action: 'terminate', time: null };
/** Red while a claim did not say that ECS was about to be asked; and while one given back without an answer was kept. */
const ONCE_RED = [886244971, 56, 76, 199];
let runs = 0;

interface Life {
  /** Nodes that were DRAINING at the same time. */
  readonly most: number;
  readonly activated: boolean;
  /** How many drains by hand ended without an error. */
  readonly byHand: number;
  /** Nodes that are not ACTIVE at the end, and drain slots that are not free. */
  readonly left: number;
}

/**
 * Agents whose causes come and go, whose store and ECS fail at times and whose processes end and start again; and an
 * operator who drains and undrains their nodes by hand, over the same network, and at times interrupts it.
 */
async function live(seed: number, maxSharePercent: number): Promise<Life> {
  const random = seededRandom(seed);
  const clock = simulatedClock();
  runs += 1;
  const config = { kind: 'memory', label: 'memory:', name: `drain-${runs}` } as const;
  const store = createRollStore(await openMemoryKv(config, { clock, random, bootId: 'boot-1' }));
  const ecs = fakeAgentEcs();
  let most = 0;
  const update = ecs.updateContainerInstancesState;
  ecs.updateContainerInstancesState = async (...args) => {
    try {
      return await update(...args);
    } finally {
      most = Math.max(most, [...ecs.instances.values()].filter(({ status }) => status === 'DRAINING').length);
    }
  };
  const { signal } = new AbortController();
  const agents = await Promise.all(
    Array.from({ length: NODES }, async (_, n) => {
      const ec2InstanceId = sampleInstanceId(n);
      const record = sampleRecord({ ec2InstanceId });
      const registration = {
        instanceId: ec2InstanceId,
        session: 's',
        since: '2026-01-01T00:00:00Z',
        ttlMs: 86_400_000,
      };
      await store.register({ ...registration, retentionMs: 86_400_000 }, record, { takeover: true, signal });
      ecs.add(record.containerInstanceArn ?? '');
      const cell = createCell<NodeRecord>(record);
      const network = flakyStore(store);
      let stop = new AbortController();
      let starts = 0;
      const start = () => {
        starts += 1;
        stop = new AbortController();
        const settings = { on: ['interruption' as const], criticalAfterMs: 300_000, maxSharePercent };
        const more = { slots: network.drainSlots, ecs: async () => ecs, record: cell.get, noticesKnown: () => true };
        const options = {
          config: settings,
          clock,
          random,
          log: silentLog,
          session: `${n}-${starts}`,
          changes: cell,
          ...more,
        };
        return runDrain({ ...options, leaving: createCell(false), onStep: () => {} }, stop.signal).catch(() => {});
      };
      let running = start();
      const end = async () => {
        stop.abort(new Error('killed'));
        await running;
      };
      const restart = async () => {
        await end();
        running = start();
      };
      const target = {
        instanceId: ec2InstanceId,
        arn: record.containerInstanceArn ?? '',
        cluster: record.cluster ?? '',
      };
      return { cell, network, end, restart, target };
    }),
  );
  const operator = createOperator({ clock, ecs, store, maxSharePercent });
  const pick = () => agents[Math.floor(random() * NODES)] ?? assert.fail();
  for (let turn = 0; turn < 60; turn += 1) {
    const { cell, network, restart, target } = pick();
    const what = random();
    // One command after the other: those of two operators on one node are not guarded from each other.
    if (turn % 3 === 0 && operator.isIdle()) {
      if (random() < 0.6) operator.drain(target, network);
      else operator.undrain(target, network, cell.get());
    } else if (turn % 3 === 1 && random() < 0.2) operator.interrupt();
    if (what < 0.6) cell.set({ ...cell.get(), interruption: random() < 0.6 ? SPOT : null });
    else if (what < 0.7) await restart();
    else if (what < 0.8) network.loseAnswers = !network.loseAnswers;
    else if (what < 0.9) ecs.loseAnswers = !ecs.loseAnswers;
    else if (ecs.failing.size > 0) ecs.failing.clear();
    else ecs.failing.set('ecs:UpdateContainerInstancesState', noAnswer('x'));
    await clock.advance(random() * 10_000);
  }
  ecs.loseAnswers = false;
  ecs.failing.clear();
  for (const { cell, network } of agents) {
    network.loseAnswers = false;
    cell.set({ ...cell.get(), interruption: null });
  }
  await clock.advance(60_000);
  for (const { cell, network, target } of agents) {
    operator.undrain(target, network, cell.get());
    await clock.advance(60_000);
    assert.ok(operator.isIdle());
  }
  await clock.advance(600_000);
  const draining = [...ecs.instances.values()].filter(({ status }) => status !== 'ACTIVE').length;
  const left = draining + (await store.drainSlots.list(signal)).length;
  await Promise.all(agents.map(({ end }) => end()));
  await store.close();
  return { most, activated: ecs.calls.includes('ACTIVE'), byHand: operator.drained(), left };
}

type World = Pick<Parameters<typeof drainByHand>[0], 'clock' | 'ecs'> & {
  readonly store: ReturnType<typeof createRollStore>;
  readonly maxSharePercent: number;
};

/** `rollcall drain` and `undrain`, begun here and running while the clock is set forward. */
function createOperator({ clock, ecs, store, maxSharePercent }: World) {
  const kept = { label: null, note: null };
  let stop = new AbortController();
  let running = 0;
  let drained = 0;
  const begin = (command: (signal: AbortSignal) => Promise<void>) => {
    running += 1;
    stop = new AbortController();
    command(stop.signal)
      .catch(() => {})
      .finally(() => {
        running -= 1;
      });
  };
  type Target = Parameters<typeof readStatus>[1];
  return {
    isIdle: () => running === 0,
    interrupt: () => stop.abort(new Error('ended by SIGINT')),
    drained: () => drained,
    drain: (target: Target, { drainSlots: slots }: Pick<World['store'], 'drainSlots'>) =>
      begin(async (signal) => {
        const claim = await slots.read(target.instanceId, signal);
        const others = (await slots.list(signal)).filter(({ instanceId }) => instanceId !== target.instanceId);
        const room = decideRoom(target, others, await store.read(signal), maxSharePercent);
        const status = await readStatus(ecs, target, signal);
        const plan = planHandDrain({ target, claim, status, room, force: false });
        if (plan.kind !== 'drain') return;
        const { arn, cluster } = target;
        const wanted: DrainClaim = {
          phase: 'manual',
          arn,
          cluster,
          reason: 'r',
          since: 's',
          session: `by-hand-${runs}-${drained}`,
        };
        await drainByHand({ slots, ecs, clock, kept }, target, plan, claim, { claim: wanted, maxSharePercent }, signal);
        drained += 1;
      }),
    undrain: (target: Target, { drainSlots: slots }: Pick<World['store'], 'drainSlots'>, record: NodeRecord) =>
      begin(async (signal) => {
        const claim = await slots.read(target.instanceId, signal);
        const status = await readStatus(ecs, target, signal);
        const plan = planHandUndrain({ target, claim, status, force: false, record });
        if (plan.kind === 'undrain') await undrainByHand({ slots, ecs, kept }, target, plan, claim, record, signal);
      }),
  };
}

test('never more than the share where an agent is killed, or not answered, between ECS and the store', async () => {
  let drainedByHand = 0;
  for (const seed of ONCE_RED) {
    const { most, left, byHand } = await live(seed, 25);
    drainedByHand += byHand;
    assert.ok(most <= 3 && left === 0, `seed ${seed}: ${most} drained at once, ${left} at the end`);
  }
  assert.ok(drainedByHand > 1, `${drainedByHand} drained by hand`);
});

test('never more than the share drains at once, and all is active again afterwards, whatever fails, whichever agents restart and whatever an operator does', async () => {
  let drained = 0;
  let activated = 0;
  const property = fc.asyncProperty(fc.nat(), fc.constantFrom(1, 10, 25, 50), async (seed, percent) => {
    const slots = Math.max(1, Math.floor((NODES * percent) / 100));
    const seen = await live(seed, percent);
    assert.ok(seen.most <= slots, `${seen.most} of ${slots}`);
    assert.equal(seen.left, 0, 'all that was drained is ACTIVE again, and all slots are free');
    drained += seen.most;

    if (seen.activated) activated += 1;
  });
  const numRuns = fewerInQuickRun(20);
  // Few are drawn in the quick run: the first two drain for certain.
  await fc.assert(property, {
    numRuns: numRuns + 2,
    examples: [
      [1, 25],
      [2, 50],
    ],
  });
  assert.ok(drained > numRuns / 2 && activated > 0, `${drained} drained, ${activated} activated`);
});
