import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  drainByHand,
  type KeptSlot,
  namingKeptSlot,
  planHandDrain,
  planHandUndrain,
  readStatus,
  undrainByHand,
} from '../../src/cli/drain-by-hand.ts';
import { abortable } from '../../src/lib/abort.ts';
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
const held = (phase: DrainClaim['phase'], more: Partial<DrainClaim> = {}): HeldClaim => ({
  ...{ instanceId: target.instanceId, claim: { ...claimOf(phase), ...more }, lease: '1', revision: '2' },
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
  ['the container instance of another node', { status: 'under i-9', ...FORCE }, 'refuse'],
  ['drained by hand before', { claim: held('manual'), status: 'DRAINING', room: FULL }, 'drain keep as it is'],
  ['drained by hand, then made ACTIVE by another tool', { claim: held('manual'), room: FULL }, 'drain keep ask'],
  ['its agent has a slot', { claim: held('claimed'), room: FULL }, 'drain replace ask'],
  ['its agent drained it', { claim: held('drained'), status: 'DRAINING' }, 'drain replace as it is'],
  ['its agent makes it ACTIVE now', { claim: held('activating'), status: 'DRAINING' }, 'refuse'],
  ['the same, forced', { claim: held('activating'), status: 'DRAINING', ...FORCE }, 'drain replace as it is'],
  ['overruled, a free slot', { claim: held('overruled') }, 'drain take ask'],
  ['drained by hand, then registered anew', { claim: held('manual', { arn: 'arn:0' }) }, 'drain take ask'],
  ['the same, no free slot', { claim: held('manual', { arn: 'arn:0' }), status: 'DRAINING', room: FULL }, 'refuse'],
  ['its agent drained it in another cluster', { claim: held('drained', { cluster: 'other' }), room: FULL }, 'refuse'],
  ['its agent made the former instance ACTIVE', { claim: held('activating', { arn: 'arn:0' }) }, 'drain take ask'],
  ['overruled, no free slot', { claim: held('overruled'), room: FULL }, 'refuse'],
];
for (const [name, facts, expected] of drains) {
  test(`drain: ${name}`, () => {
    const plan = planHandDrain({ target, claim: null, status: 'ACTIVE', room: ROOM, force: false, ...facts });
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
  [
    'registered anew, then drained by another tool',
    { claim: held('manual', { arn: 'arn:0' }) },
    'undrain give-back-former as it is',
  ],
  [
    'registered anew while its agent asks',
    { claim: held('asked', { arn: 'arn:0' }) },
    'undrain give-back-former as it is',
  ],
  [
    'registered anew in another cluster',
    { claim: held('drained', { cluster: 'other' }) },
    'undrain give-back-former as it is',
  ],
  [
    'the container instance of another node',
    { claim: held('manual'), status: 'under i-9' },
    'undrain give-back as it is',
  ],
  ['the same, without a slot', { status: 'under i-9' }, 'nothing'],
];
for (const [name, facts, expected] of undrains) {
  test(`undrain: ${name}`, () => {
    const plan = planHandUndrain({
      ...{ target, claim: null, status: 'DRAINING', force: false, record: sampleRecord() },
      ...facts,
    });
    assert.equal(said(plan), expected);
  });
}

async function world(t: TestContext) {
  const roll = await openTestRoll(t);
  for (const n of [1, 2]) await roll.register(n);
  const ecs = fakeAgentEcs();
  ecs.add(ARN);
  const slots = roll.store.drainSlots;
  const kept: KeptSlot = { label: null, note: null };
  const deps = { slots, ecs, clock: systemClock, kept };
  const claim = () => slots.read(target.instanceId, signal);
  const status = () => readStatus(ecs, target, signal);
  const drain = async (maxSharePercent: number | null = 50) => {
    const before = await claim();
    const plan = planHandDrain({ target, claim: before, status: await status(), room: ROOM, force: false });
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
  return { ecs, slots, deps, kept, claim, status, drain, agentClaims };
}

test('a drain holds a slot before ECS is asked, and an undrain gives it back after ECS was', async (t) => {
  const { ecs, deps, claim, status, drain } = await world(t);
  await drain();
  assert.deepEqual([await status(), (await claim())?.claim.phase], ['DRAINING', 'manual']);
  ecs.failing.set('ecs:UpdateContainerInstancesState', noAnswer('x'));
  const plan = { kind: 'undrain', claim: 'give-back', askEcs: true } as const;
  await assert.rejects(undrainByHand(deps, target, plan, await claim(), sampleRecord(), signal));
  assert.equal((await claim())?.claim.phase, 'manual');
  ecs.failing.clear();
  await undrainByHand(deps, target, plan, await claim(), sampleRecord(), signal);
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

test('an undrained node stays so where no slot is free or ECS refuses the drain', async (t) => {
  const { ecs, slots, claim, drain, agentClaims } = await world(t);
  const overruled = { ...claimOf('overruled'), causes: ['critical'] };
  await slots.replace(await agentClaims('claimed'), overruled, signal);
  const other = await agentClaims('drained', 2);
  await assert.rejects(drain(), /i-00000002; undrain one of them/);
  assert.deepEqual((await claim())?.claim, overruled);
  await slots.giveBack(other, signal);
  ecs.failing.set('ecs:UpdateContainerInstancesState', denied('x'));
  await assert.rejects(drain(), /AccessDenied/);
  assert.deepEqual((await claim())?.claim, overruled);
  ecs.failing.clear();
  await drain();
  assert.deepEqual((await claim())?.claim, claimOf('manual', 'by-hand-1'));
});

test('draining a node again that is drained by hand holds its slot anew', async (t) => {
  const { ecs, deps, claim, drain } = await world(t);
  await drain();
  const before = await claim();
  const renewed: string[] = [];
  const slots: typeof deps.slots = {
    ...deps.slots,
    renew: (held, within) => {
      renewed.push(held.lease);
      return deps.slots.renew(held, within);
    },
  };
  const plan = { kind: 'drain', claim: 'keep', askEcs: false } as const;
  const request = { claim: claimOf('manual', 'by-hand-2'), maxSharePercent: 50 };
  await drainByHand({ ...deps, slots }, target, plan, before, request, signal);
  assert.deepEqual([renewed, await claim()], [[before?.lease], before]);
  const other = { ...request, claim: { ...request.claim, reason: 'bad disk' } };
  await drainByHand({ ...deps, slots }, target, plan, before, other, signal);
  const now = await claim();
  assert.deepEqual(now?.claim, { ...before?.claim, reason: 'bad disk' });
  assert.deepEqual([renewed.length, now?.lease], [2, before?.lease]);
  await assert.rejects(drainByHand(deps, target, plan, before, other, signal), /changed meanwhile/);
  assert.deepEqual(
    ecs.calls.filter((call) => call !== 'describe'),
    ['DRAINING'],
  );
});

test('a drain that is interrupted or not answered says that the slot stays taken; one that is refused does not', async (t) => {
  const { ecs, kept, claim, drain, slots } = await world(t);
  kept.label = 'i-00000001 (10.0.0.1, demo)';
  ecs.failing.set('ecs:UpdateContainerInstancesState', denied('x'));
  await assert.rejects(
    namingKeptSlot(kept, () => drain()),
    { message: 'x: AccessDeniedException' },
  );
  ecs.failing.set('ecs:UpdateContainerInstancesState', noAnswer('x'));
  const taken = 'the slot stays taken: run rollcall drain or rollcall undrain i-00000001 again';
  await assert.rejects(
    namingKeptSlot(kept, () => drain()),
    { message: `i-00000001 (10.0.0.1, demo): x: no answer; ${taken}` },
  );
  // It has the slot already, and a refusal frees none.
  ecs.failing.set('ecs:UpdateContainerInstancesState', denied('x'));
  await assert.rejects(
    namingKeptSlot(kept, () => drain()),
    { message: `i-00000001 (10.0.0.1, demo): x: AccessDeniedException; ${taken}` },
  );
  await slots.giveBack((await claim()) ?? assert.fail(), signal);
  ecs.failing.clear();
  const asked = Promise.withResolvers<void>();
  ecs.updateContainerInstancesState = () => {
    asked.resolve();
    return new Promise(() => {});
  };
  const stop = new AbortController();
  const draining = namingKeptSlot(kept, () => abortable(drain(), stop.signal));
  const rejected = assert.rejects(draining, { message: `i-00000001 (10.0.0.1, demo): ended by SIGINT; ${taken}` });
  await asked.promise;
  stop.abort(new Error('ended by SIGINT'));
  await rejected;
});

test('a drain that is interrupted while the store writes says that the slot may be taken, and what frees it', async (t) => {
  const { ecs, deps, kept, claim, drain, slots, agentClaims } = await world(t);
  kept.label = 'i-00000001 (10.0.0.1, demo)';
  const store = { loses: true };
  const lost = async <T>(written: Promise<T>): Promise<T> => {
    const answer = await written;
    if (store.loses) throw new Error('ended by SIGINT');
    return answer;
  };
  Object.assign(deps, {
    slots: {
      ...slots,
      take: (...args: Parameters<typeof slots.take>) => lost(slots.take(...args)),
      replace: (...args: Parameters<typeof slots.replace>) => lost(slots.replace(...args)),
      giveBack: (...args: Parameters<typeof slots.giveBack>) => lost(slots.giveBack(...args)),
    },
  });
  const note = 'the slot may be taken: rollcall undrain i-00000001 frees it, rollcall drain i-00000001 goes on';
  const saysSo = { message: `i-00000001 (10.0.0.1, demo): ended by SIGINT; ${note}` };
  await assert.rejects(
    namingKeptSlot(kept, () => drain()),
    saysSo,
  );
  assert.deepEqual([(await claim())?.claim.phase, ecs.status(ARN)], ['manual', 'ACTIVE']);
  await slots.giveBack((await claim()) ?? assert.fail(), signal);
  await agentClaims('claimed');
  await assert.rejects(
    namingKeptSlot(kept, () => drain()),
    saysSo,
  );
  const plan = { kind: 'undrain', claim: 'give-back', askEcs: false } as const;
  const undrain = async (held = claim()) => undrainByHand(deps, target, plan, await held, sampleRecord(), signal);
  await assert.rejects(
    namingKeptSlot(kept, () => undrain()),
    {
      message:
        'i-00000001 (10.0.0.1, demo): ended by SIGINT; the slot may still be taken: run rollcall undrain i-00000001 again',
    },
  );
  store.loses = false;
  await agentClaims('drained', 2);
  // What the store has answered is certain.
  await assert.rejects(
    namingKeptSlot(kept, () => drain()),
    { message: /i-00000002; undrain one of them, or use --force$/ },
  );
});

test('the container instance of another node is not drained', async (t) => {
  const { ecs, status } = await world(t);
  ecs.set(ARN, { ec2InstanceId: 'i-00000009' });
  assert.equal(await status(), 'under i-00000009');
  ecs.set(ARN, { ec2InstanceId: target.instanceId });
  assert.equal(await status(), 'ACTIVE');
});

test('an undrain notes what stands, beside that for which the agent had drained', async (t) => {
  const { deps, slots, claim, agentClaims } = await world(t);
  const drained = await slots.replace(
    await agentClaims('claimed'),
    { ...claimOf('drained'), causes: ['spot'] },
    signal,
  );
  const plan = { kind: 'undrain', claim: 'overrule', askEcs: false } as const;
  const notice = { kind: 'asg-termination', action: 'terminate', time: null };
  await undrainByHand(deps, target, plan, drained, { ...CRITICAL, interruption: notice }, signal);
  const causes = ['spot', 'asg-termination terminate', 'critical'];
  assert.deepEqual((await claim())?.claim, { ...claimOf('overruled'), causes });
});

test('a claim that changes meanwhile is not overwritten', async (t) => {
  const { ecs, deps, slots, claim, agentClaims } = await world(t);
  const before = await agentClaims('drained');
  await slots.replace(before, claimOf('activating'), signal);
  const request = { claim: claimOf('manual', 'by-hand-1'), maxSharePercent: 50 };
  for (const [how, held] of [
    ['replace', before],
    ['take', before],
    ['take', null],
  ] as const) {
    const plan = { kind: 'drain', claim: how, askEcs: true } as const;
    await assert.rejects(drainByHand(deps, target, plan, held, request, signal), /changed meanwhile/, how);
  }
  const keep = { kind: 'drain', claim: 'keep', askEcs: true } as const;
  const gone = { ...before, lease: '9' };
  await assert.rejects(drainByHand(deps, target, keep, gone, request, signal), /changed meanwhile/, 'keep');
  for (const how of ['give-back', 'overrule'] as const) {
    const plan = { kind: 'undrain', claim: how, askEcs: false } as const;
    const undraining = undrainByHand(deps, target, plan, before, sampleRecord(), signal);
    await assert.rejects(undraining, /changed meanwhile/, how);
  }
  assert.deepEqual([(await claim())?.claim.phase, ecs.calls], ['activating', []]);
});
