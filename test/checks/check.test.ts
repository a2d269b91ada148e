import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type CheckState, type Observation, observeCheck, reasonFrom } from '../../src/checks/check.ts';
import { HEALTH_STATUSES } from '../../src/record/record.ts';

describe('observe check', () => {
  const damping = { rise: 2, fall: 3 };
  const good: Observation = { status: 'passing', reason: '' };
  const bad: Observation = { status: 'critical', reason: 'connection refused' };

  /** The state after results one second apart. */
  function after(...results: Observation[]): CheckState {
    let state: CheckState | null = null;
    for (const [second, seen] of results.entries()) state = observeCheck('x', state, seen, damping, second * 1_000);
    assert.ok(state);
    return state;
  }

  test('the first result counts at once', () => {
    assert.equal(after(bad).status, 'critical');
    assert.equal(after(good).status, 'passing');
  });

  test('a worse status counts after three results in a row, and begins with the third', () => {
    assert.equal(after(good, bad, bad).status, 'passing');
    const state = after(good, bad, bad, bad);
    assert.equal(state.status, 'critical');
    assert.equal(state.sinceMs, 3_000);
  });

  test('one good result among bad ones restarts the count', () => {
    assert.equal(after(good, bad, bad, good, bad, bad).status, 'passing');
  });

  test('a better status counts after two results in a row', () => {
    assert.equal(after(bad, good).status, 'critical');
    assert.equal(after(bad, good, good).status, 'passing');
  });

  test('failures with different reasons count together, and the newest reason is used', () => {
    const state = after(good, bad, { ...bad, reason: 'timeout' }, { ...bad, reason: 'HTML' });
    assert.deepEqual([state.status, state.reason], ['critical', 'HTML']);
  });

  test('a new reason for the same status must repeat, and does not change when the status began', () => {
    const other = { ...bad, reason: 'timeout' };
    assert.equal(after(bad, other, bad, other, other).reason, 'connection refused');
    const state = after(bad, other, other, other);
    assert.deepEqual([state.reason, state.sinceMs], ['timeout', 0]);
  });

  test('the status is always one that was observed, and equal results do not change the state', () => {
    const result = fc.record({ status: fc.constantFrom(...HEALTH_STATUSES), reason: fc.constantFrom('', 'a', 'b') });
    fc.assert(
      fc.property(fc.array(result, { minLength: 1, maxLength: 40 }), (results) => {
        const state = after(...results);
        assert.ok(results.some(({ status, reason }) => status === state.status && reason === state.reason));
        const same = observeCheck('x', { ...state, pending: null }, state, damping, 1e9);
        assert.equal(same.sinceMs, state.sinceMs);
      }),
    );
  });
});

describe('reason', () => {
  test('the first non-empty line is the reason, without terminal control characters', () => {
    assert.equal(reasonFrom('\n \r\n\tdisk   is full \nmore'), 'disk is full');
    assert.equal(reasonFrom('\u001b[31mred\u001b[0m alert\u0007'), 'red alert?');
    assert.equal(reasonFrom('\u0000\u0001\n\ufffd\ntext'), 'text');
    assert.equal(reasonFrom('???'), '');
    assert.equal(reasonFrom(''), '');
  });

  test('a long line is cut to 200 whole characters', () => {
    assert.equal(reasonFrom('x'.repeat(200)), 'x'.repeat(200));
    const cut = reasonFrom('😀'.repeat(300));
    assert.deepEqual([[...cut].length, cut.endsWith('😀…')], [200, true]);
  });
});
