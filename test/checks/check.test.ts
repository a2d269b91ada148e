import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  type CheckState,
  checkVerdict,
  knownChecks,
  type Observation,
  observeCheck,
  reasonFrom,
  recallCheck,
} from '../../src/checks/check.ts';
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

  test('a good first result counts at once, bad ones from the start on only after three of them', () => {
    assert.deepEqual([after(good).decided, after(good).status], [true, 'passing']);
    for (const early of [after(bad), after(bad, { ...bad, status: 'warning' })]) {
      assert.deepEqual(knownChecks([early]), []);
    }
    const state = after(bad, { ...bad, status: 'warning' }, { ...bad, reason: 'timeout' });
    assert.deepEqual([state.decided, state.status, state.reason, state.sinceMs], [true, 'critical', 'timeout', 2_000]);
    assert.deepEqual([after(bad, bad, good).decided, after(bad, bad, good).status], [true, 'passing']);
    assert.equal(observeCheck('x', null, bad, { rise: 2, fall: 1 }, 0).status, 'critical');
  });

  test('a bad verdict of the last record stands until a result says otherwise, and one failure confirms it', () => {
    const last = { name: 'x', status: 'critical', reason: 'full', since: '2026-01-01T00:00:00.000Z' } as const;
    const sinceMs = Date.parse(last.since);
    const kept = recallCheck(null, last);
    assert.deepEqual(kept && knownChecks([kept]).map(checkVerdict), [last]);
    const look = (seen: Observation) => observeCheck('x', kept, seen, damping, 1e12);
    assert.deepEqual([look(good).status, look(good).decided, look(good).sinceMs], ['passing', true, 1e12]);
    const confirmed = recallCheck(look(bad), last);
    assert.deepEqual([confirmed.decided, confirmed.reason, confirmed.sinceMs], [true, 'connection refused', sinceMs]);
    // Not so bad as it was: until there is a verdict, the last one stands.
    const better = recallCheck(look({ ...bad, status: 'warning' }), last);
    assert.deepEqual([better.decided, better.status], [false, 'critical']);
    // What has a verdict, or was well, or has no instant, is not changed.
    assert.equal(recallCheck(after(good), last).status, 'passing');
    for (const other of [
      { ...last, status: 'passing' as const },
      { ...last, since: 'once' },
    ]) {
      assert.equal(recallCheck(null, other), null);
    }
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
    assert.equal(after(bad, bad, bad, good).status, 'critical');
    assert.equal(after(bad, bad, bad, good, good).status, 'passing');
  });

  test('failures with different reasons count together, and the newest reason is used', () => {
    const state = after(good, bad, { ...bad, reason: 'timeout' }, { ...bad, reason: 'HTML' });
    assert.deepEqual([state.status, state.reason], ['critical', 'HTML']);
  });

  test('a new reason for the same status must repeat, and does not change when the status began', () => {
    const other = { ...bad, reason: 'timeout' };
    assert.equal(after(bad, bad, bad, other, bad, other, other).reason, 'connection refused');
    const state = after(bad, bad, bad, other, other, other);
    assert.deepEqual([state.reason, state.sinceMs], ['timeout', 2_000]);
  });

  test('the status is always one that was observed, and equal results do not change the state', () => {
    const result = fc.record({ status: fc.constantFrom(...HEALTH_STATUSES), reason: fc.constantFrom('', 'a', 'b') });
    fc.assert(
      fc.property(fc.array(result, { minLength: 1, maxLength: 40 }), (results) => {
        const state = after(...results);
        if (!state.decided) return;
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
