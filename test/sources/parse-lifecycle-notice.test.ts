import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseLifecycleNotice } from '../../src/sources/notices.ts';

test('target states that end the instance’s running are notices', () => {
  const actions = Object.fromEntries(
    ['Terminated', 'Terminating', 'Terminating:Wait', 'Warmed:Terminated', 'Warmed:Stopped', 'Warmed:Hibernated'].map(
      (state) => [state, parseLifecycleNotice(state)?.action],
    ),
  );
  assert.deepEqual(actions, {
    Terminated: 'terminate',
    Terminating: 'terminate',
    'Terminating:Wait': 'terminate',
    'Warmed:Terminated': 'terminate',
    'Warmed:Stopped': 'stop',
    'Warmed:Hibernated': 'hibernate',
  });
  assert.deepEqual(parseLifecycleNotice('Terminated\n'), { kind: 'asg-termination', action: 'terminate', time: null });
});

test('states in which the instance runs on are none, nor is one that is not known', () => {
  for (const state of ['InService', 'Standby', 'Detached', 'Warmed:Running', 'Pending:Wait', 'Brandnew'])
    assert.equal(parseLifecycleNotice(state), null, state);
});

test('an answer that is no state at all is an error', () => {
  for (const text of ['', '<html></html>', '{"unexpected":42}', 'a b'])
    assert.throws(() => parseLifecycleNotice(text), /expected a lifecycle state, got "/, text);
});
