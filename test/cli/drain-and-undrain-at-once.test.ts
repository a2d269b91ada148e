import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { drainByHand, type KeptSlot, namingKeptSlot, undrainByHand } from '../../src/cli/drain-by-hand.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { DrainClaim, DrainSlots } from '../../src/store/drain-slots.ts';
import { denied, fakeAgentEcs } from '../support/fake-agent-ecs.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { openTestRoll } from '../support/test-roll.ts';

const { signal } = new AbortController();
const ARN = 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/1';
const target = { instanceId: sampleInstanceId(1), arn: ARN, cluster: 'demo' };
const label = 'i-00000001 (10.0.0.1, demo)';
const claim: DrainClaim = {
  ...{ phase: 'manual', arn: ARN, cluster: 'demo', reason: 'r', since: '2026-01-01T00:00:00Z', session: 'by-hand-1' },
};

/** A drain by hand; its steps can be held up for an undrain that runs meanwhile. */
async function world(t: TestContext) {
  const roll = await openTestRoll(t);
  for (const n of [1, 2]) await roll.register(n);
  const ecs = fakeAgentEcs();
  ecs.add(ARN);
  const slots = roll.store.drainSlots;
  const drain = (kept: KeptSlot) => {
    const plan = { kind: 'drain', claim: 'take', askEcs: true } as const;
    const deps = { slots, ecs, clock: systemClock, kept };
    return namingKeptSlot(kept, () => drainByHand(deps, target, plan, null, { claim, maxSharePercent: 50 }, signal));
  };
  const undrain = async (how: 'give-back' | 'overrule', through: DrainSlots = slots) => {
    const plan = { kind: 'undrain', claim: how, askEcs: false } as const;
    const kept: KeptSlot = { label, note: null };
    const held = await slots.read(target.instanceId, signal);
    return namingKeptSlot(kept, () =>
      undrainByHand({ slots: through, ecs, kept }, target, plan, held, sampleRecord(), signal),
    );
  };
  const changes = () => ecs.calls.filter((call) => call !== 'describe');
  return { ecs, slots, drain, undrain, changes };
}

for (const how of ['give-back', 'overrule'] as const) {
  test(`a drain that waits for ECS takes its change back where an undrain freed its slot: ${how}`, async (t) => {
    const { ecs, slots, drain, undrain, changes } = await world(t);
    const update = ecs.updateContainerInstancesState;
    ecs.updateContainerInstancesState = async (...args) => {
      ecs.updateContainerInstancesState = update;
      assert.equal(await undrain(how), false, 'the undrain found it ACTIVE');
      return update(...args);
    };
    await assert.rejects(drain({ label, note: null }), {
      message: 'rollcall undrain gave its drain slot back meanwhile, so it is ACTIVE again',
    });
    assert.deepEqual([ecs.status(ARN), changes()], ['ACTIVE', ['DRAINING', 'ACTIVE']]);
    const left = await slots.read(target.instanceId, signal);
    assert.equal(left?.claim.phase, how === 'overrule' ? 'overruled' : undefined);
  });
}

test('a drain that cannot take its change back says that the node may drain without a slot', async (t) => {
  const { ecs, drain, undrain } = await world(t);
  const update = ecs.updateContainerInstancesState;
  ecs.updateContainerInstancesState = async (...args) => {
    ecs.updateContainerInstancesState = update;
    await undrain('give-back');
    const answer = await update(...args);
    ecs.failing.set('ecs:UpdateContainerInstancesState', denied('x'));
    return answer;
  };
  await assert.rejects(drain({ label, note: null }), {
    message: `${label}: x: AccessDeniedException; rollcall undrain gave its drain slot back meanwhile, and ECS may drain it: run rollcall undrain i-00000001 again`,
  });
});

test('an undrain makes ACTIVE what ECS began to drain while it gave the slot back', async (t) => {
  const { ecs, slots, drain, undrain, changes } = await world(t);
  // The drain ends, having found its slot, just before the undrain frees it.
  const late: DrainSlots = {
    ...slots,
    giveBack: async (...args) => {
      ecs.set(ARN, { status: 'DRAINING' });
      return slots.giveBack(...args);
    },
  };
  await drain({ label, note: null });
  ecs.set(ARN, { status: 'ACTIVE' });
  assert.equal(await undrain('give-back', late), true);
  assert.deepEqual([ecs.status(ARN), changes()], ['ACTIVE', ['DRAINING', 'ACTIVE']]);
  assert.equal(await slots.read(target.instanceId, signal), null);
});

test('an undrain that cannot tell whether ECS drains the node by now says so', async (t) => {
  const { ecs, drain, undrain } = await world(t);
  await drain({ label, note: null });
  ecs.failing.set('ecs:DescribeContainerInstances', denied('x'));
  await assert.rejects(undrain('give-back'), {
    message: `${label}: x: AccessDeniedException; its drain slot is free, but ECS may drain it: run rollcall undrain i-00000001 again`,
  });
});

test('an undrain leaves alone what another drain, with a slot of its own, drains by then', async (t) => {
  const { ecs, slots, drain, undrain, changes } = await world(t);
  const early: DrainSlots = {
    ...slots,
    giveBack: async (...args) => {
      const isFree = await slots.giveBack(...args);
      await drain({ label, note: null });
      return isFree;
    },
  };
  await drain({ label, note: null });
  ecs.set(ARN, { status: 'ACTIVE' });
  await assert.rejects(undrain('give-back', early), {
    message: 'another rollcall drain has drained it meanwhile; run rollcall undrain again to end that one, too',
  });
  assert.deepEqual([ecs.status(ARN), changes()], ['DRAINING', ['DRAINING', 'DRAINING']]);
  assert.equal((await slots.read(target.instanceId, signal))?.claim.phase, 'manual');
});
