import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyDrain, applyDrainFailure } from '../../../src/agent/drain/drain-apply.ts';
import { type DrainState, initialDrainState } from '../../../src/agent/drain/drain-plan.ts';
import type { DrainClaim, HeldClaim, TakeOutcome } from '../../../src/store/drain-slots.ts';
import { denied, noAnswer } from '../../support/fake-agent-ecs.ts';

const NOW_MS = 1_000_000;
const end = { sentAtMs: NOW_MS, nowMs: NOW_MS, wallMs: 0, random: 0.5 };
const place = { arn: 'arn:1', cluster: 'demo' };
const why = { phase: 'waiting', reason: 'r' } as const;
const instanceId = 'i-00000000';
const held = (phase: DrainClaim['phase']): HeldClaim => ({
  instanceId,
  claim: { phase, ...place, reason: 'r', since: 's', session: 's' },
  lease: '1',
  revision: '2',
});

const take = { ...why, action: 'take', instanceId, place, cause: 'r' } as const;
const describe = { ...why, action: 'describe', instanceId, place } as const;
const drain = { ...why, action: 'drain', instanceId, place } as const;
const activate = { ...why, action: 'activate', instanceId, place } as const;
const mark = { ...why, action: 'mark', held: held('claimed'), as: 'asked' } as const;
const renew = { ...why, action: 'renew', held: held('drained') } as const;
const giveBack = { ...why, action: 'give-back', held: held('drained') } as const;
const readClaim = { ...why, action: 'read-claim', instanceId } as const;

const inEcs = (status: string, ec2InstanceId: string | null = null) => ({
  instances: [{ containerInstanceArn: place.arn, ec2InstanceId, status } as never],
  failures: [],
});
const seen = { status: { arn: place.arn, text: 'ACTIVE', atMs: NOW_MS } };
const state = (more: Partial<DrainState> = {}): DrainState => ({ ...initialDrainState, ...seen, claim: null, ...more });
const failed = (before: DrainState, call: Parameters<typeof applyDrainFailure>[1], error: Error = noAnswer('x')) =>
  applyDrainFailure(before, call, error, end);
const taken = (before: DrainState, outcome: TakeOutcome) => applyDrain.take(before, take, outcome, end);

test('a status that ECS gave is remembered, a failure forgets it', () => {
  const after = applyDrain.describe(state({ status: null }), describe, inEcs('DRAINING'), end);
  assert.deepEqual(after.status, { arn: place.arn, text: 'DRAINING', atMs: NOW_MS });
  assert.equal(
    applyDrain.describe(state(), describe, inEcs('ACTIVE', 'i-00000009'), end).status?.text,
    'under i-00000009',
    'the container instance of another node is not this one’s to drain',
  );
  assert.equal(applyDrain.describe(state(), describe, inEcs('ACTIVE', instanceId), end).status?.text, 'ACTIVE');
  const missing = { instances: [], failures: [{ arn: place.arn, reason: 'MISSING' }] };
  assert.equal(applyDrain.describe(state(), describe, missing, end).status?.text, 'MISSING');
  for (const error of [denied('x'), noAnswer('x')]) assert.equal(failed(state(), describe, error).status, null);
});

test('ECS refused to drain: it did not. Without an answer it may have', () => {
  const denials = [denied('x'), noAnswer('x')].map((error) => failed(state(), drain, error).drainDenied);
  assert.deepEqual(denials, [true, false]);
  assert.equal(failed(state({ drainDenied: true }), drain).drainDenied, false);
  assert.equal(applyDrain.drain(state({ drainDenied: true }), drain, inEcs('DRAINING'), end).drainDenied, false);
});

test('a request to make the node ACTIVE is remembered unless ECS refused it, until ECS has the node DRAINING', () => {
  const asked = [denied('x'), noAnswer('x')].map((error) => failed(state(), activate, error).activatedArn);
  assert.deepEqual(asked, [null, place.arn]);
  const after = applyDrain.activate(state(), activate, inEcs('DRAINING'), end);
  assert.equal(after.activatedArn, place.arn);
  assert.equal(applyDrain.describe(after, describe, inEcs('ACTIVE'), end).activatedArn, place.arn);
  assert.equal(applyDrain.describe(after, describe, inEcs('DRAINING'), end).activatedArn, null);
});

test('a write of the claim that was not answered: the claim has to be read; any other failure keeps it', () => {
  const before = state({ claim: held('claimed') });
  for (const call of [take, mark, giveBack]) assert.equal(failed(before, call).claim, undefined, call.action);
  for (const call of [readClaim, describe, drain, renew]) {
    assert.equal(failed(before, call).claim, before.claim, call.action);
  }
});

test('a claim that was replaced or has ended in the store has to be read', () => {
  const before = state({ claim: held('claimed') });
  assert.equal(applyDrain.mark(before, mark, null, end).claim, undefined);
  assert.equal(applyDrain.mark(before, mark, held('asked'), end).claim?.claim.phase, 'asked');
  assert.equal(applyDrain.renew(before, renew, false, end).claim, undefined);
  const renewed = applyDrain.renew(before, renew, true, end);
  assert.deepEqual([renewed.claim, renewed.renewAtMs], [before.claim, NOW_MS + 7_200_000 * 0.95]);
});

test('pauses grow while the slots are full or calls fail, also with answers between; a slot makes them short again', () => {
  const full = { kind: 'full', reason: '1 of 1 slots is taken', keepsLockMs: null } as const;
  let now = failed(state({ claim: undefined }), take);
  assert.deepEqual([now.trouble.retryAtMs, now.trouble.error], [NOW_MS + 500, 'x: no answer']);
  now = applyDrain['read-claim'](now, readClaim, null, end);
  assert.deepEqual([now.trouble.error, now.renewAtMs], [null, NOW_MS], 'the age of a claim that was read is not known');
  assert.ok(now.trouble.retryAtMs < NOW_MS);
  now = taken(now, full);
  assert.deepEqual(
    [now.trouble.retryAtMs, now.trouble.error, now.pauseReason],
    [NOW_MS + 1_000, null, '1 of 1 slots is taken'],
  );
  now = taken(now, { kind: 'busy' });
  assert.deepEqual([now.trouble.retryAtMs, now.pauseReason], [NOW_MS + 2_000, '1 of 1 slots is taken']);
  now = taken(now, { kind: 'taken', held: held('claimed') });
  assert.deepEqual([now.trouble, now.status], [initialDrainState.trouble, null]);
});

test('the agent that keeps the admission lock tries again in time to keep it', () => {
  const { trouble, pauseReason } = taken(state(), { kind: 'full', reason: 'full', keepsLockMs: 30_000 });
  assert.deepEqual(
    [trouble.retryAtMs, trouble.backoff, pauseReason],
    [NOW_MS + 12_500, initialDrainState.trouble.backoff, 'full'],
  );
});

test('after a refusal ECS is not asked for minutes, longer each time until it takes a request; reading is none', () => {
  const first = applyDrainFailure(state(), drain, denied('x'), { ...end, random: 0 });
  assert.deepEqual(
    [first.refusal.retryAtMs, first.refusal.error, first.trouble],
    [NOW_MS + 150_000, 'x: AccessDeniedException', initialDrainState.trouble],
  );
  const read = applyDrain.describe(first, describe, inEcs('ACTIVE'), end);
  assert.ok(read.refusal.retryAtMs < NOW_MS);
  assert.equal(applyDrainFailure(read, drain, denied('x'), { ...end, random: 0 }).refusal.retryAtMs, NOW_MS + 300_000);
  for (const after of [
    applyDrain.drain(read, drain, inEcs('DRAINING'), end),
    applyDrain.activate(read, activate, inEcs('ACTIVE'), end),
  ]) {
    assert.deepEqual(after.refusal, initialDrainState.refusal);
  }
});

test('a slot that is given back is for others first; what is left alone is remembered until its cause is over', () => {
  const before = state({ claim: held('claimed'), drainDenied: true, activatedArn: place.arn });
  const after = applyDrain['give-back'](before, { ...giveBack, leaveAlone: place.arn }, true, end);
  assert.deepEqual(
    [after.claim, after.status, after.drainDenied, after.activatedArn, after.leftAloneArn],
    [null, null, false, null, place.arn],
  );
  assert.deepEqual([after.trouble.retryAtMs, after.pauseReason], [NOW_MS + 4_500, 'r']);
  assert.equal(applyDrain['give-back'](after, giveBack, true, end).leftAloneArn, place.arn);
  assert.equal(applyDrain.forget(after, { ...why, action: 'forget' }, undefined, end).leftAloneArn, null);
});

test('the pause before the next slot grows while ECS has the node in no state to drain, and begins anew with another ARN', () => {
  const from = { arn: place.arn, cause: 'critical' };
  const back = (before: DrainState, standOff = from) =>
    applyDrain['give-back'](before, { ...giveBack, standOff }, true, { ...end, random: 0 });
  const pauses: number[] = [];
  let now = state();
  for (let round = 0; round < 9; round += 1) {
    now = taken(back(now), { kind: 'taken', held: held('claimed') });
    now = applyDrain.describe(now, describe, inEcs('REGISTERING'), end);
    pauses.push((now.standOff.untilMs - NOW_MS) / 1_000);
  }
  assert.deepEqual(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
  assert.equal(back(now, { ...from, arn: 'arn:2' }).standOff.untilMs, NOW_MS + 5_000);
  for (const status of ['ACTIVE', 'DRAINING']) {
    assert.deepEqual(applyDrain.describe(now, describe, inEcs(status), end).standOff, initialDrainState.standOff);
  }
});

test('a claim that an operator replaced is read again, and a lease that this process renews is not renewed at each reading', () => {
  assert.equal(applyDrain['give-back'](state(), giveBack, true, end).claim, null);
  assert.equal(applyDrain['give-back'](state(), giveBack, false, end).claim, undefined);
  const known = applyDrain['read-claim'](
    state({ claim: held('manual'), renewAtMs: 7 }),
    readClaim,
    held('manual'),
    end,
  );
  assert.deepEqual([known.renewAtMs, known.claimReadAtMs], [7, NOW_MS]);
  const failing = applyDrainFailure(state(), readClaim, noAnswer('x'), end);
  const idle = applyDrain['read-claim'](failing, readClaim, null, end);
  assert.deepEqual(idle.trouble, initialDrainState.trouble, 'an idle agent only reads, so the next pause is short');
  const strange = applyDrain['read-claim'](state({ renewAtMs: 7 }), readClaim, held('manual'), end);
  assert.equal(strange.renewAtMs, NOW_MS);
});
