import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CheckState, type Observation, observeCheck } from '../../src/checks/check.ts';
import { HEALTH_STATUSES } from '../../src/record/record.ts';

const damping = { rise: 2, fall: 3 };
const good: Observation = { status: 'passing', reason: '' };
const bad: Observation = { status: 'critical', reason: 'connection refused' };

/** The state after looks one second apart. */
function after(...looks: Observation[]): CheckState {
  let state: CheckState | null = null;
  for (const [second, seen] of looks.entries()) state = observeCheck('x', state, seen, damping, second * 1_000);
  assert.ok(state);
  return state;
}

test('the first look is believed at once', () => {
  assert.equal(after(bad).status, 'critical');
  assert.equal(after(good).status, 'passing');
});

test('trouble counts after three looks in a row, and began with the third', () => {
  assert.equal(after(good, bad, bad).status, 'passing');
  const state = after(good, bad, bad, bad);
  assert.equal(state.status, 'critical');
  assert.equal(state.sinceMs, 3_000);
});

test('one good look among the bad ones starts the count again', () => {
  assert.equal(after(good, bad, bad, good, bad, bad).status, 'passing');
});

test('recovery counts after two looks in a row', () => {
  assert.equal(after(bad, good).status, 'critical');
  assert.equal(after(bad, good, good).status, 'passing');
});

test('trouble that shows in several ways is still trouble; its newest reason is told', () => {
  const state = after(good, bad, { ...bad, reason: 'timeout' }, { ...bad, reason: 'HTML' });
  assert.deepEqual([state.status, state.reason], ['critical', 'HTML']);
});

test('another reason for the same status must last, and does not move the beginning', () => {
  const other = { ...bad, reason: 'timeout' };
  assert.equal(after(bad, other, bad, other, other).reason, 'connection refused');
  const state = after(bad, other, other, other);
  assert.deepEqual([state.reason, state.sinceMs], ['timeout', 0]);
});

test('the verdict is always one that was seen, and equal looks leave the state untouched', () => {
  const look = fc.record({ status: fc.constantFrom(...HEALTH_STATUSES), reason: fc.constantFrom('', 'a', 'b') });
  fc.assert(
    fc.property(fc.array(look, { minLength: 1, maxLength: 40 }), (looks) => {
      const state = after(...looks);
      assert.ok(looks.some(({ status, reason }) => status === state.status && reason === state.reason));
      const same = observeCheck('x', { ...state, pending: null }, state, damping, 1e9);
      assert.equal(same.sinceMs, state.sinceMs);
    }),
  );
});
