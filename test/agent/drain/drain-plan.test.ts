import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CauseVerdict } from '../../../src/agent/drain/cause.ts';
import {
  ASK_MS,
  type DrainInput,
  type DrainState,
  FRESH_MS,
  initialDrainState,
  planDrain,
  READ_AGAIN_MS,
  READ_CLAIM_MS,
  READ_MANUAL_MS,
} from '../../../src/agent/drain/drain-plan.ts';
import type { DrainClaim, HeldClaim } from '../../../src/store/drain-slots.ts';

const NOW_MS = 1_000_000;
const stands: CauseVerdict = {
  kind: 'stands',
  reason: 'spot-interruption terminate',
  key: 'spot-interruption terminate',
};
const over: CauseVerdict = { kind: 'over', untilMs: Number.POSITIVE_INFINITY };
const undecided: CauseVerdict = { kind: 'undecided', reason: 'critical for less than 5m', untilMs: NOW_MS + 7_000 };
const node = { instanceId: 'i-00000000', arn: 'arn:1', cluster: 'demo' };

const held = (phase: DrainClaim['phase'], arn = 'arn:1'): HeldClaim => ({
  instanceId: node.instanceId,
  claim: { phase, arn, cluster: 'demo', reason: 'r', since: 's', session: 's' },
  lease: '1',
  revision: '2',
});
const overruledFor = (...causes: string[]): HeldClaim => ({
  ...held('overruled'),
  claim: { ...held('overruled').claim, causes },
});
const state = (more: Partial<DrainState>): DrainState => ({
  ...{ ...initialDrainState, claim: null, claimReadAtMs: NOW_MS },
  ...more,
});
const readLongAgo = { claimReadAtMs: NOW_MS - READ_CLAIM_MS };
const seen = (text: string, ageMs = 0, arn = 'arn:1') => ({ status: { arn, text, atMs: NOW_MS - ageMs } });
const refused = {
  refusal: { ...initialDrainState.refusal, error: 'AccessDeniedException', retryAtMs: NOW_MS + 60_000 },
};
const standingOff = (arn: string, cause: string) => {
  const from = { arn, cause };
  return { standOff: { ...initialDrainState.standOff, from, reason: 'ECS has it MISSING', untilMs: NOW_MS + 60_000 } };
};
/** A slot since so long, and ECS has not answered yet. */
const unanswered = (phase: DrainClaim['phase'], forMs: number) => ({
  claim: held(phase),
  claimSinceMs: NOW_MS - forMs,
  trouble: { ...initialDrainState.trouble, action: 'describe' as const, error: 'x', retryAtMs: NOW_MS },
});

/** State, input, and what follows: the action, and the phase that people see. */
const table: readonly [string, Partial<DrainState>, Partial<DrainInput>, string][] = [
  ['the claim is not known', { claim: undefined }, { cause: over }, 'read-claim idle'],
  ['the instance id is not known', {}, { node: null }, 'wait idle'],
  ['no claim, no cause', {}, { cause: over }, 'wait idle'],
  ['no claim as read a while ago, no cause', readLongAgo, { cause: over }, 'read-claim idle'],
  ['no claim as read a while ago, not yet a cause', readLongAgo, { cause: undecided }, 'read-claim idle'],
  ['no claim as read a while ago, a cause: the take reads it', readLongAgo, {}, 'take waiting'],
  ['no claim as read a while ago, left alone', { ...readLongAgo, leftAloneArn: 'arn:1' }, {}, 'read-claim left-alone'],
  ['no claim as read a while ago, leaving', readLongAgo, { leaving: true, cause: over }, 'wait idle'],
  ['no claim, not yet a cause', {}, { cause: undecided }, 'wait idle'],
  ['no claim, a cause', {}, {}, 'take waiting'],
  ['no claim, a cause, no ARN', {}, { node: { ...node, arn: null } }, 'wait waiting'],
  ['no claim, a cause, no cluster', {}, { node: { ...node, cluster: null } }, 'wait waiting'],
  ['no claim, ECS refused lately', refused, {}, 'wait waiting'],
  [
    'no claim, no slot lately',
    { trouble: { ...initialDrainState.trouble, retryAtMs: NOW_MS + 1 }, pauseReason: 'full' },
    {},
    'wait waiting',
  ],
  ['leaving with a cause', {}, { leaving: true }, 'wait waiting'],
  ['leaving while drained', { claim: held('drained') }, { leaving: true, cause: over }, 'wait draining'],
  ['drained from outside for this cause', { leftAloneArn: 'arn:1' }, {}, 'wait left-alone'],
  ['drained from outside, the cause over', { leftAloneArn: 'arn:1' }, { cause: over }, 'forget idle'],
  ['left alone, then registered anew', { leftAloneArn: 'arn:0' }, {}, 'take waiting'],
  ['a slot, ECS not asked', { claim: held('claimed') }, {}, 'describe waiting'],
  ['a slot, the status is old', { claim: held('claimed'), ...seen('ACTIVE', FRESH_MS + 1) }, {}, 'describe waiting'],
  [
    'a slot, the status of another ARN',
    { claim: held('claimed'), ...seen('ACTIVE', 0, 'arn:0') },
    {},
    'describe waiting',
  ],
  ['a slot, ACTIVE', { claim: held('claimed'), ...seen('ACTIVE') }, {}, 'mark waiting'],
  ['about to be asked, ACTIVE', { claim: held('asked'), ...seen('ACTIVE') }, {}, 'drain waiting'],
  [
    'about to be asked, ACTIVE, the claim read before the status: an operator may have replaced it',
    { claim: held('asked'), ...seen('ACTIVE'), claimReadAtMs: NOW_MS - 1 },
    {},
    'read-claim waiting',
  ],
  [
    'activating, over, DRAINING, the claim read before the status',
    { claim: held('activating'), ...seen('DRAINING'), claimReadAtMs: NOW_MS - 1 },
    { cause: over },
    'read-claim draining',
  ],
  [
    'about to be asked, ACTIVE, the cause undecided',
    { claim: held('asked'), ...seen('ACTIVE') },
    { cause: undecided },
    'give-back idle',
  ],
  ['asked, DRAINING, over', { claim: held('asked'), ...seen('DRAINING') }, { cause: over }, 'mark waiting'],
  ['asked by an agent before, the status not read', { claim: held('asked') }, {}, 'describe waiting'],
  ['a slot, DRAINING, never asked', { claim: held('claimed'), ...seen('DRAINING') }, {}, 'give-back left-alone'],
  [
    'a slot, DRAINING from outside, the cause over: it stays so',
    { claim: held('claimed'), ...seen('DRAINING') },
    { cause: over },
    'give-back idle',
  ],
  ['a slot, DRAINING as asked', { claim: held('asked'), ...seen('DRAINING') }, {}, 'mark draining'],
  ['a slot, ECS has just not answered', unanswered('claimed', ASK_MS - 1), {}, 'describe waiting'],
  ['a slot, ECS has not answered for long', unanswered('claimed', ASK_MS), {}, 'give-back waiting'],
  ['asked, ECS has not answered for long: it may drain', unanswered('asked', ASK_MS), {}, 'describe waiting'],
  ['a slot, ECS does not answer, the cause over', unanswered('claimed', 0), { cause: over }, 'give-back idle'],
  ['a slot, ECS does not answer, not yet a cause', unanswered('claimed', 0), { cause: undecided }, 'give-back idle'],
  ['asked, ECS does not answer, the cause over', unanswered('asked', ASK_MS), { cause: over }, 'describe waiting'],
  ['no claim, ECS had it MISSING', standingOff('arn:1', stands.reason), {}, 'wait waiting'],
  ['no claim, ECS had it MISSING under another ARN', standingOff('arn:0', stands.reason), {}, 'take waiting'],
  ['no claim, ECS had it MISSING, then another cause', standingOff('arn:1', 'critical'), {}, 'take waiting'],
  ['a slot, MISSING', { claim: held('claimed'), ...seen('MISSING') }, {}, 'give-back waiting'],
  ['a slot, REGISTERING', { claim: held('claimed'), ...seen('REGISTERING') }, {}, 'give-back waiting'],
  [
    'a slot, ACTIVE, the cause undecided',
    { claim: held('claimed'), ...seen('ACTIVE') },
    { cause: undecided },
    'give-back idle',
  ],
  ['a slot, ACTIVE, the cause over', { claim: held('claimed'), ...seen('ACTIVE') }, { cause: over }, 'give-back idle'],
  ['a slot, refused', { claim: held('claimed'), ...refused }, {}, 'give-back waiting'],
  ['asked, then reading denied', { claim: held('asked'), ...refused }, {}, 'wait waiting'],
  ['asked, and refused', { claim: held('asked'), ...refused, drainDenied: true }, {}, 'give-back waiting'],
  ['drained, the cause stands', { claim: held('drained'), ...seen('DRAINING', 60_000) }, {}, 'wait draining'],
  [
    'drained, the status not read for long',
    { claim: held('drained'), ...seen('DRAINING', READ_AGAIN_MS) },
    {},
    'describe draining',
  ],
  ['drained, made ACTIVE from outside', { claim: held('drained'), ...seen('ACTIVE') }, {}, 'mark left-alone'],
  [
    'drained, the cause undecided',
    { claim: held('drained'), ...seen('DRAINING') },
    { cause: undecided },
    'wait draining',
  ],
  ['drained, over, the status not read', { claim: held('drained') }, { cause: over }, 'describe draining'],
  [
    'drained, over, the status is old',
    { claim: held('drained'), ...seen('DRAINING', FRESH_MS + 1) },
    { cause: over },
    'describe draining',
  ],
  ['drained, over, DRAINING', { claim: held('drained'), ...seen('DRAINING') }, { cause: over }, 'mark draining'],
  ['drained, over, ACTIVE already', { claim: held('drained'), ...seen('ACTIVE') }, { cause: over }, 'give-back idle'],
  ['drained, over, gone from ECS', { claim: held('drained'), ...seen('MISSING') }, { cause: over }, 'give-back idle'],
  ['drained, over, refused', { claim: held('drained'), ...refused }, { cause: over }, 'wait draining'],
  ['drained, registered anew', { claim: held('drained', 'arn:0') }, {}, 'give-back idle'],
  [
    'drained, ecs-agent away since the start',
    { claim: held('drained') },
    { node: { ...node, arn: null }, cause: over },
    'wait draining',
  ],
  [
    'drained, renewal due, ecs-agent away since the start',
    { claim: held('drained'), renewAtMs: NOW_MS },
    { node: { ...node, arn: null } },
    'renew draining',
  ],
  [
    'drained, made ACTIVE by this agent, the cause undecided again',
    { claim: held('drained'), ...seen('ACTIVE'), activatedArn: 'arn:1' },
    { cause: undecided },
    'give-back idle',
  ],
  [
    'drained, made ACTIVE by this agent, a cause again',
    { claim: held('drained'), ...seen('ACTIVE'), activatedArn: 'arn:1' },
    {},
    'give-back waiting',
  ],
  [
    'drained, a cause again, the status after ACTIVE not read',
    { claim: held('drained'), activatedArn: 'arn:1' },
    {},
    'describe draining',
  ],
  [
    'drained, our ACTIVE never came there',
    { claim: held('drained'), ...seen('DRAINING'), activatedArn: 'arn:1' },
    {},
    'wait draining',
  ],
  ['drained, renewal due', { claim: held('drained'), renewAtMs: NOW_MS }, {}, 'renew draining'],
  [
    'activating, over, DRAINING',
    { claim: held('activating'), ...seen('DRAINING') },
    { cause: over },
    'activate draining',
  ],
  ['activating, over, ACTIVE', { claim: held('activating'), ...seen('ACTIVE') }, { cause: over }, 'give-back idle'],
  ['activating, ACTIVE, a cause again', { claim: held('activating'), ...seen('ACTIVE') }, {}, 'give-back waiting'],
  ['activating, DRAINING, a cause again', { claim: held('activating'), ...seen('DRAINING') }, {}, 'mark draining'],
  ['activating, refused', { claim: held('activating'), ...refused }, { cause: over }, 'wait draining'],
  ['drained by hand, a cause', { claim: held('manual'), claimReadAtMs: NOW_MS }, {}, 'wait left-alone'],
  ['drained by hand, no cause', { claim: held('manual'), claimReadAtMs: NOW_MS }, { cause: over }, 'wait left-alone'],
  [
    'drained by hand, read a while ago',
    { claim: held('manual'), claimReadAtMs: NOW_MS - READ_MANUAL_MS },
    {},
    'read-claim left-alone',
  ],
  ['drained by hand, renewal due', { claim: held('manual'), renewAtMs: NOW_MS }, {}, 'renew left-alone'],
  ['drained by hand, registered anew', { claim: held('manual', 'arn:0') }, {}, 'give-back idle'],
  ['overruled, the cause stands', { claim: held('overruled') }, {}, 'wait left-alone'],
  ['overruled for this cause', { claim: overruledFor('critical', stands.reason) }, {}, 'wait left-alone'],
  ['overruled for another cause', { claim: overruledFor('critical') }, {}, 'give-back waiting'],
  ['overruled without a cause', { claim: overruledFor() }, {}, 'give-back waiting'],
  ['overruled, not yet a cause', { claim: overruledFor() }, { cause: undecided }, 'wait left-alone'],
  ['overruled, read a while ago', { claim: held('overruled'), ...readLongAgo }, {}, 'read-claim left-alone'],
  [
    'drained, the claim read a while ago',
    { claim: held('drained'), ...seen('DRAINING'), ...readLongAgo },
    {},
    'read-claim draining',
  ],
  ['overruled, the cause over', { claim: held('overruled') }, { cause: over }, 'give-back idle'],
];

for (const [name, facts, input, expected] of table) {
  test(name, () => {
    const step = planDrain(state(facts), NOW_MS, { node, cause: stands, leaving: false, ...input });
    assert.equal(`${step.action} ${step.phase}`, expected);
    assert.notEqual(step.reason, '');
    if (step.action === 'wait') assert.ok(step.untilMs > NOW_MS, 'a wait waits');
  });
}

test('only what was drained from outside is left alone', () => {
  const step = (more: Partial<DrainState>) =>
    planDrain(state({ claim: held('claimed'), ...more }), NOW_MS, { node, cause: stands, leaving: false });
  assert.equal((step(seen('DRAINING')) as { leaveAlone?: string }).leaveAlone, 'arn:1');
  assert.equal((step(seen('MISSING')) as { leaveAlone?: string }).leaveAlone, undefined);
});

test('plans again when the cause may have changed by itself', () => {
  const step = planDrain(state({}), NOW_MS, { node, cause: undecided, leaving: false });
  assert.deepEqual(step, { action: 'wait', phase: 'idle', reason: undecided.reason, untilMs: NOW_MS + 7_000 });
  const idle = planDrain(state({}), NOW_MS, { node, cause: over, leaving: false });
  assert.ok(idle.action === 'wait' && idle.untilMs === NOW_MS + READ_CLAIM_MS, 'and when its claim is to be read');
});
