import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { drainByHand, planHandDrain, planHandUndrain, readStatus, undrainByHand } from '../../src/cli/drain-by-hand.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { DrainClaim, HeldClaim } from '../../src/store/drain-slots.ts';
import { denied, fakeAgentEcs, noAnswer } from '../support/fake-agent-ecs.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { openTestRoll } from '../support/test-roll.ts';

const { signal } = new AbortController();
const ARN = 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/1';
const target = { instanceId: sampleInstanceId(1), arn: ARN, cluster: 'demo' };
const claimOf = (phase: DrainClaim['phase'], session = 'agent'): DrainClaim => ({
  ...{ phase, arn: ARN, cluster: 'demo', reason: 'r', since: '2026-01-01T00:00:00Z', session },
});
const held = (phase: DrainClaim['phase']): HeldClaim => ({
  ...{ instanceId: target.instanceId, claim: claimOf(phase), lease: '1', revision: '2' },
});
const ROOM = { free: true, reason: '0 of 1 drain slots of demo are taken' };
const FULL = { free: false, reason: '1 of 1 drain slots of demo are taken: i-00000009' };
const FORCE = { force: true };
const said = (plan: { kind: string; claim?: string; askEcs?: boolean; reason?: string }) =>
  [plan.kind, plan.claim, plan.askEcs === undefined ? undefined : plan.askEcs ? 'ask' : 'as it is']
    .filter(Boolean)
    .join(' ');

type Facts = Partial<Parameters<typeof planHandDrain>[0]>;
const drains: readonly [string, Facts, string][] = [
  ['an ACTIVE node, a free slot', {}, 'drain take ask'],
  ['no free slot', { room: FULL }, 'refuse'],
  ['no free slot, forced', { room: FULL, ...FORCE }, 'drain take ask'],
  ['DRAINING by another tool: it takes the slot', { status: 'DRAINING' }, 'drain take as it is'],
  ['REGISTERING', { status: 'REGISTERING', ...FORCE }, 'refuse'],
  ['MISSING', { status: 'MISSING' }, 'refuse'],
  ['drained by hand before', { claim: held('manual'), status: 'DRAINING', room: FULL }, 'nothing'],
  ['drained by hand, then made ACTIVE by another tool', { claim: held('manual'), room: FULL }, 'drain keep ask'],
  ['its agent has a slot', { claim: held('claimed'), room: FULL }, 'drain replace ask'],
  ['its agent drained it', { claim: held('drained'), status: 'DRAINING' }, 'drain replace as it is'],
  ['its agent makes it ACTIVE now', { claim: held('activating'), status: 'DRAINING' }, 'refuse'],
  ['the same, forced', { claim: held('activating'), status: 'DRAINING', ...FORCE }, 'drain replace as it is'],
  ['overruled, a free slot', { claim: held('overruled') }, 'drain take-anew ask'],
  ['overruled, no free slot', { claim: held('overruled'), room: FULL }, 'refuse'],
];
for (const [name, facts, expected] of drains) {
  test(`drain: ${name}`, () => {
    const plan = planHandDrain({ claim: null, status: 'ACTIVE', room: ROOM, force: false, ...facts });
    assert.equal(said(plan), expected);
    if (plan.kind === 'refuse' && !facts.room?.free && facts.room) assert.match(plan.reason, /i-00000009; .*--force/);
  });
}

const CRITICAL = sampleRecord({ health: { status: 'critical', since: '2026-01-01T00:00:00Z', checks: [] } });
const undrains: readonly [string, Partial<Parameters<typeof planHandUndrain>[0]>, string][] = [
  ['drained by hand', { claim: held('manual') }, 'undrain give-back ask'],
  ['drained by hand, and critical', { claim: held('manual'), record: CRITICAL }, 'undrain overrule ask'],
  ['its agent drained it', { claim: held('drained') }, 'undrain overrule ask'],
  ['its agent has a slot', { claim: held('claimed'), status: 'ACTIVE' }, 'undrain overrule as it is'],
  ['its agent asks ECS now', { claim: held('asked'), status: 'ACTIVE' }, 'refuse'],
  ['the same, forced', { claim: held('asked'), ...FORCE }, 'undrain overrule ask'],
  ['its agent makes it ACTIVE now', { claim: held('activating') }, 'undrain give-back ask'],
  ['drained by another tool', {}, 'undrain none ask'],
  ['ACTIVE, no slot', { status: 'ACTIVE' }, 'nothing'],
  ['overruled, and drained by another tool', { claim: held('overruled') }, 'undrain none ask'],
  ['gone from ECS', { claim: held('manual'), status: 'MISSING' }, 'undrain give-back as it is'],
];
for (const [name, facts, expected] of undrains) {
  test(`undrain: ${name}`, () => {
    const plan = planHandUndrain({ claim: null, status: 'DRAINING', force: false, record: sampleRecord(), ...facts });
    assert.equal(said(plan), expected);
  });
}

async function world(t: TestContext) {
  const roll = await openTestRoll(t);
  for (const n of [1, 2]) await roll.register(n);
  const ecs = fakeAgentEcs();
  ecs.add(ARN);
  const slots = roll.store.drainSlots;
  const deps = { slots, ecs, clock: systemClock };
  const claim = () => slots.read(target.instanceId, signal);
  const status = () => readStatus(ecs, target, signal);
  const drain = async (maxSharePercent: number | null = 50) => {
    const before = await claim();
    const plan = planHandDrain({ claim: before, status: await status(), room: ROOM, force: false });
    assert.ok(plan.kind === 'drain', said(plan));
    const request = { claim: claimOf('manual', 'by-hand-1'), maxSharePercent };
    return drainByHand(deps, target, plan, before, request, signal);
  };
  const agentClaims = async (phase: DrainClaim['phase'], n = 1) => {
    const request = { instanceId: sampleInstanceId(n), claim: claimOf(phase), maxSharePercent: 100 };
    const outcome = await slots.take(request, signal);
    assert.ok(outcome.kind === 'taken');
    return outcome.held;
  };
  return { ecs, slots, deps, claim, status, drain, agentClaims };
}

test('a drain holds a slot before ECS is asked, and an undrain gives it back after ECS was', async (t) => {
  const { ecs, deps, claim, status, drain } = await world(t);
  await drain();
  assert.deepEqual([await status(), (await claim())?.claim.phase], ['DRAINING', 'manual']);
  ecs.failing.set('ecs:UpdateContainerInstancesState', noAnswer('x'));
  const plan = { kind: 'undrain', claim: 'give-back', askEcs: true } as const;
  await assert.rejects(undrainByHand(deps, target, plan, await claim(), signal));
  assert.equal((await claim())?.claim.phase, 'manual');
  ecs.failing.clear();
  await undrainByHand(deps, target, plan, await claim(), signal);
  assert.deepEqual([await status(), await claim()], ['ACTIVE', null]);
});

test('what ECS refuses leaves the claims as before; without an answer the slot stays taken', async (t) => {
  const { ecs, slots, claim, drain, agentClaims } = await world(t);
  ecs.failing.set('ecs:UpdateContainerInstancesState', denied('x'));
  await assert.rejects(drain(), /AccessDenied/);
  assert.equal(await claim(), null);
  await agentClaims('claimed');
  await assert.rejects(drain(), /AccessDenied/);
  assert.deepEqual((await claim())?.claim, claimOf('claimed'));
  await slots.giveBack((await claim()) ?? assert.fail(), signal);
  ecs.failing.set('ecs:UpdateContainerInstancesState', noAnswer('x'));
  await assert.rejects(drain(), /no answer/);
  assert.equal((await claim())?.claim.phase, 'manual');
});

test('a slot that another node took meanwhile is named; force takes one all the same', async (t) => {
  const { ecs, claim, drain, agentClaims } = await world(t);
  await agentClaims('drained', 2);
  await assert.rejects(
    drain(),
    /1 of 1 drain slots of demo are taken: i-00000002; undrain one of them, or use --force/,
  );
  assert.deepEqual([await claim(), ecs.status(ARN)], [null, 'ACTIVE']);
  await drain(null);
  assert.deepEqual([(await claim())?.claim.phase, ecs.status(ARN)], ['manual', 'DRAINING']);
});

test('a claim that changes meanwhile is not overwritten', async (t) => {
  const { ecs, deps, slots, claim, agentClaims } = await world(t);
  const before = await agentClaims('drained');
  await slots.replace(before, claimOf('activating'), signal);
  const request = { claim: claimOf('manual', 'by-hand-1'), maxSharePercent: 50 };
  for (const how of ['replace', 'take-anew', 'take'] as const) {
    const plan = { kind: 'drain', claim: how, askEcs: true } as const;
    const held = how === 'take' ? null : before;
    await assert.rejects(drainByHand(deps, target, plan, held, request, signal), /changed meanwhile/, how);
  }
  for (const how of ['give-back', 'overrule'] as const) {
    const plan = { kind: 'undrain', claim: how, askEcs: false } as const;
    await assert.rejects(undrainByHand(deps, target, plan, before, signal), /changed meanwhile/, how);
  }
  assert.deepEqual([(await claim())?.claim.phase, ecs.calls], ['activating', []]);
});
