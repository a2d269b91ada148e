import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constraints } from '../../src/config/place.ts';

test('a constraint is a name, == or !=, and a value; spaces around each are nothing', () => {
  const role = { name: 'role', operator: '==', value: 'node' } as const;
  assert.deepEqual(constraints('role==node'), [role]);
  assert.deepEqual(constraints(' role  ==  node '), [role]);
  assert.deepEqual(constraints('az!=us-east-1a,role==node'), [
    { name: 'az', operator: '!=', value: 'us-east-1a' },
    role,
  ]);
  assert.deepEqual(constraints('role==node', [role]), [role, role]);
  assert.deepEqual(constraints('attribute:ecs.os-type==linux'), [
    { name: 'attribute:ecs.os-type', operator: '==', value: 'linux' },
  ]);
  assert.deepEqual(constraints('team/tier==a b:c@d'), [{ name: 'team/tier', operator: '==', value: 'a b:c@d' }]);
});

test('anything else is refused with the position, from 1, at which it goes wrong', () => {
  const wrong: Record<string, RegExp> = {
    '': /^Position 1: expected the name/,
    '==node': /^Position 1: expected the name/,
    'role=node': /^Position 5: expected == or !=/,
    role: /^Position 5: expected == or !=/,
    'role===node': /^Position 7: expected a value/,
    'role==': /^Position 7: expected a value/,
    'role== ': /^Position 7: expected a value/,
    'role==a"b': /^Position 7: expected a value/,
    'role =~ node': /^Position 6: expected == or !=/,
    'role==node,az=b': /^Position 14: expected == or !=/,
    'role==node,': /^Position 12: expected the name/,
    'other:x==1': /^Position 6: expected == or !=/,
    'attribute:==1': /^Position 10: expected == or !=/,
    [`role==${'x'.repeat(129)}`]: /^Position 7: expected a value/,
  };
  for (const [text, message] of Object.entries(wrong)) {
    assert.throws(() => constraints(text), { code: 'commander.invalidArgument', message }, text);
  }
});
