import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  type AttributesState,
  applyAttributes,
  applyAttributesFailure,
  initialAttributesState,
  isOthers,
  planAttributes,
  READ_AGAIN_MS,
  WRITE_GAP_MS,
  wantedAttributes,
} from '../../../src/agent/attributes/attributes-plan.ts';
import { EcsError } from '../../../src/ecs/ecs-errors.ts';
import type { HealthStatus, NodeRecord } from '../../../src/record/record.ts';
import { denied, noAnswer } from '../../support/fake-agent-ecs.ts';
import { sampleRecord } from '../../support/sample-record.ts';

describe('plan attributes', () => {
  const NOW_MS = 1_000_000;
  const arn = sampleRecord().containerInstanceArn;
  const target = { cluster: 'demo', arn: arn ?? '' };
  const end = { sentAtMs: NOW_MS, nowMs: NOW_MS, wallMs: 0, random: 0 };
  const has = (inEcs: Record<string, string | null>, more: Partial<AttributesState> = {}): AttributesState => ({
    ...{
      ...initialAttributesState,
      arn,
      inEcs: new Map(Object.entries(inEcs)),
      readAgainAtMs: NOW_MS + READ_AGAIN_MS,
    },
    ...more,
  });
  const all = {
    'rollcall.health': 'passing',
    'rollcall.machine-id': '0123456789abcdef0123456789abcdef',
    'rollcall.label.role': 'node',
  };
  const plan = (state: AttributesState, record: Partial<NodeRecord> = {}, leaving = false, nowMs = NOW_MS) =>
    planAttributes(state, nowMs, { record: sampleRecord(record), leaving, firstReadAtMs: NOW_MS });
  const health = (status: HealthStatus) => ({ health: { ...sampleRecord().health, status } });

  test('waits while there is no container instance, and reads before it writes', () => {
    assert.equal(
      planAttributes(initialAttributesState, NOW_MS, { record: null, leaving: false, firstReadAtMs: NOW_MS }).action,
      'wait',
    );
    assert.equal(plan(initialAttributesState, { containerInstanceArn: null }).action, 'wait');
    assert.equal(plan(initialAttributesState).action, 'describe');
  });

  test('writes what differs and nothing else; the rest of the time it waits', () => {
    const step = plan(has({ ...all, 'rollcall.health': 'critical' }));
    assert.deepEqual(step.action === 'put' && step.attributes, [{ name: 'rollcall.health', value: 'passing' }]);
    assert.equal(plan(has(all)).action, 'wait');
  });

  test('deletes what is rollcall’s and no longer wanted, first, and nothing of others', () => {
    const step = plan(has({ 'rollcall.label.gone': 'x', stack: 'prod', 'ecs.ami-id': 'ami' }));
    assert.deepEqual(step.action === 'delete' && step.names, ['rollcall.label.gone']);
    assert.equal(plan(has({ ...all, stack: 'prod' })).action, 'wait');
  });

  test('a flapping health is written once a minute, as it is then', () => {
    const step = plan(has(all), health('critical'));
    assert.ok(step.action === 'put');
    const after = applyAttributes.put(has(all), step, null, end);
    const again = plan(after, health('passing'), false, NOW_MS + 1);
    assert.deepEqual([again.action, again.action === 'wait' && again.untilMs], ['wait', NOW_MS + WRITE_GAP_MS]);
    assert.equal(plan(after, health('critical'), false, NOW_MS + WRITE_GAP_MS).action, 'wait');
    assert.equal(plan(after, health('passing'), false, NOW_MS + WRITE_GAP_MS).action, 'put');
  });

  test('a new ARN means everything anew, also where the old one was refused', () => {
    const failed = applyAttributesFailure(has(all), { action: 'describe', target, reason: '' }, denied('x'), end);
    assert.equal(plan(failed).action, 'wait');
    assert.equal(
      plan(failed, { containerInstanceArn: 'arn:aws:ecs:us-east-1:1:container-instance/new' }).action,
      'describe',
    );
  });

  test('reads again after a failure, soon or, where ECS refused, late; and once in some hours', () => {
    const step = { action: 'describe', target, reason: '' } as const;
    const soon = applyAttributesFailure(has(all), step, noAnswer('x'), { ...end, random: 0.5 });
    assert.equal(soon.trouble.retryAtMs, NOW_MS + 2_500);
    assert.equal(plan(soon, {}, false, NOW_MS + 2_500).action, 'describe');
    let late = has(all);
    for (let tries = 0; tries < 9; tries += 1) late = applyAttributesFailure(late, step, denied('x'), end);
    assert.equal(late.trouble.retryAtMs, NOW_MS + 900_000);
    const backAgain = applyAttributesFailure(late, step, noAnswer('x'), { ...end, random: 0.5 });
    assert.equal(backAgain.trouble.retryAtMs, NOW_MS + 2_500);
    const answered = applyAttributes.describe(late, step, { instances: [], failures: [] }, end);
    assert.deepEqual(answered.trouble, initialAttributesState.trouble, 'an answer is the end of the trouble');
    assert.equal(plan(has(all), {}, false, NOW_MS + READ_AGAIN_MS).action, 'describe');
  });

  test('leaving writes departed, at once and once; where nothing was written there is nothing to take back', () => {
    const trouble = { ...initialAttributesState.trouble, retryAtMs: NOW_MS + 1 };
    const step = plan(has(all, { nextWriteAtMs: NOW_MS + 1, trouble }), {}, true);
    assert.deepEqual(step.action === 'deregister' && step.attributes, [{ name: 'rollcall.health', value: 'departed' }]);
    assert.ok(step.action === 'deregister');
    assert.equal(plan(applyAttributes.deregister(has(all), step, null, end), {}, true).action, 'done');
    const refused = applyAttributesFailure(has(all, { lastWrite: 'x' }), step, denied('x'), end);
    assert.equal(plan(refused, {}, true).action, 'done', 'there is no time to try again');
    assert.equal(plan(has({}), {}, true).action, 'done');
  });

  test('leaving before the first read writes departed: an agent that crashed before may have left another value there', () => {
    const step = plan(initialAttributesState, {}, true, NOW_MS - 1);
    assert.deepEqual(step.action === 'deregister' && step.attributes, [{ name: 'rollcall.health', value: 'departed' }]);
    const read = plan(initialAttributesState);
    assert.ok(read.action === 'describe');
    const refused = applyAttributesFailure(initialAttributesState, read, denied('x'), end);
    assert.equal(plan(refused, {}, true).action, 'done', 'where ECS refuses nothing more is tried');
  });

  test('a throttled agent comes again within 10 minutes, evenly: the whole account is being asked too much', () => {
    const step = { action: 'describe', target, reason: '' } as const;
    const error = new EcsError('x', { code: 'ThrottlingException', retryable: true });
    for (const random of [0, 0.5, 0.999]) {
      let state = has(all);
      for (let tries = 0; tries < 3; tries += 1) state = applyAttributesFailure(state, step, error, { ...end, random });
      assert.equal(state.trouble.retryAtMs, NOW_MS + random * 600_000);
    }
  });
});

describe('wanted attributes', () => {
  const names = (labels: Record<string, string>, others = 0) =>
    wantedAttributes(sampleRecord({ labels }), false, others).attributes.map(({ name }) => name);

  test('what ECS cannot have is left out and named: a plus, a space at an end', () => {
    const labels = { plus: 'a+b', space: ' x', ok: 'a b:c@d/e', none: '' };
    const { attributes, leftOut } = wantedAttributes(sampleRecord({ labels, machineId: null }), false, 0);
    assert.deepEqual(attributes, [
      { name: 'rollcall.health', value: 'passing' },
      { name: 'rollcall.label.none', value: null },
      { name: 'rollcall.label.ok', value: 'a b:c@d/e' },
    ]);
    assert.deepEqual(
      leftOut.map((line) => line.split(':')[0]),
      ['label plus', 'label space'],
    );
  });

  test('ten on an instance, rollcall’s and all others; health is the last to be left out', () => {
    const labels = Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`k${n}`, 'v']));
    assert.equal(names(labels).length, 10);
    assert.deepEqual(names(labels, 9), ['rollcall.health']);
    assert.deepEqual(names(labels, 40), ['rollcall.health']);
    assert.equal(wantedAttributes(sampleRecord({ labels }), false, 0).leftOut.length, 4);
  });

  test('others are neither ECS’s own nor rollcall’s', () => {
    const attribute = (name: string) => ({ name, value: null });
    const all = ['ecs.os-type', 'com.amazonaws.ecs.capability.x', 'rollcall.health', 'stack'].map(attribute);
    assert.deepEqual(all.filter(isOthers), [attribute('stack')]);
  });

  test('whatever the labels, ECS can have what is wanted', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.string()), fc.nat(12), (labels, others) => {
        const { attributes } = wantedAttributes(sampleRecord({ labels }), false, others);
        assert.ok(attributes.length >= 1 && attributes.length <= Math.max(1, 10 - others));
        for (const { name, value } of attributes) {
          assert.match(name, /^rollcall\.[A-Za-z0-9_.\-/]{1,119}$/);
          if (value !== null)
            assert.match(value, /^[A-Za-z0-9_.\-/\\@:]([A-Za-z0-9 ._\-/\\@:]*[A-Za-z0-9_.\-/\\@:])?$/);
        }
      }),
    );
  });
});
