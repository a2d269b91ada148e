import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isOthers, wantedAttributes } from '../../src/agent/attributes/plan.ts';
import { sampleRecord } from '../support/sample-record.ts';

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

test('ten on an instance, whoever put them there; health is the last to go', () => {
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
        if (value !== null) assert.match(value, /^[A-Za-z0-9_.\-/\\@:]([A-Za-z0-9 ._\-/\\@:]*[A-Za-z0-9_.\-/\\@:])?$/);
      }
    }),
  );
});
