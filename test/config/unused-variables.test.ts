import assert from 'node:assert/strict';
import { test } from 'node:test';
import { misspeltVariables, unusableCluster } from '../../src/config/unused-variables.ts';

const isKnown = (name: string) => name === 'ROLLCALL_STORE';

test('a misspelt variable is named; those of a flag, of the unit, of a handler, and empty ones are not', () => {
  const env = {
    ...{ ROLLCALL_STORE: 'etcd://h', ROLLCALL_IMAGE: 'x', ROLLCALL_DOCKER_ARGS: '--init', ROLLCALL_EVENT_IP: '1' },
    ...{ ROLLCALL_CHECK_RUN: '1', ROLLCALL_EMPTY: '', ROLLCALL: 'x', PATH: '/bin' },
  };
  assert.equal(misspeltVariables(env, isKnown), null);
  assert.equal(
    misspeltVariables({ ...env, ROLLCALL_STOER: 'etcd://h' }, isKnown),
    'ROLLCALL_STOER is no variable of rollcall and has no effect; rollcall agent --help lists them',
  );
});

test('many are cut, and a name is foreign text', () => {
  const names = ['A\u001b[31m', 'B', 'C', 'D', 'E', 'F', 'G'].map((name) => [`ROLLCALL_${name}`, '1'] as const);
  const line = misspeltVariables(Object.fromEntries(names), isKnown) ?? '';
  assert.match(line, /^ROLLCALL_A\S+, ROLLCALL_B, ROLLCALL_C, ROLLCALL_D, ROLLCALL_E and 2 more are no variables /);
  assert.equal(line.includes('\u001b'), false);
});

test('an ECS_CLUSTER that cannot be a cluster is named, unless --cluster outranks it', () => {
  for (const text of ['a b', '"demo"', 'demo,demo-2'])
    assert.match(
      unusableCluster({ ECS_CLUSTER: text }, null) ?? '',
      /^ECS_CLUSTER ".+ and is not used; set --cluster$/,
    );
  assert.equal(unusableCluster({ ECS_CLUSTER: 'a b' }, 'demo'), null);
  for (const env of [{}, { ECS_CLUSTER: '' }, { ECS_CLUSTER: 'demo' }]) assert.equal(unusableCluster(env, null), null);
});
