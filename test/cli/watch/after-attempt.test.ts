import assert from 'node:assert/strict';
import { test } from 'node:test';
import { afterAttempt, failureOf } from '../../../src/cli/watch/handler.ts';

const failed = { failure: 'exit status 1', retries: 3, random: 0.999 };

test('a run that worked finishes its event, whichever it was', () => {
  assert.deepEqual(afterAttempt({ ...failed, failure: null, number: 1 }), { kind: 'finished' });
  assert.deepEqual(afterAttempt({ ...failed, failure: null, number: 4 }), { kind: 'finished' });
});

test('a run that failed is repeated as often as allowed, later each time, and then given up', () => {
  const delays = [1, 2, 3].map((number) => {
    const after = afterAttempt({ ...failed, number });
    assert.equal(after.kind, 'retry');
    return after.kind === 'retry' ? Math.round(after.delayMs) : 0;
  });
  assert.deepEqual(delays, [500, 999, 1998]);
  assert.deepEqual(afterAttempt({ ...failed, number: 4 }), { kind: 'given-up' });
  assert.deepEqual(afterAttempt({ ...failed, retries: 0, number: 1 }), { kind: 'given-up' });
});

test('the wait is drawn from zero on, and is never longer than half a minute', () => {
  assert.deepEqual(afterAttempt({ ...failed, random: 0, number: 2 }), { kind: 'retry', delayMs: 0 });
  const last = afterAttempt({ ...failed, retries: 1_000, number: 999 });
  assert.ok(last.kind === 'retry' && last.delayMs <= 30_000);
});

test('only exit status 0 within the time counts as worked; the rest says what happened', () => {
  const ended = { status: null, signal: null, timedOut: false };
  assert.equal(failureOf({ ...ended, status: 0 }, 30_000), null);
  assert.equal(failureOf({ ...ended, status: 3 }, 30_000), 'exit status 3');
  assert.equal(failureOf({ ...ended, signal: 'SIGSEGV' }, 30_000), 'ended by SIGSEGV');
  assert.equal(failureOf({ ...ended, signal: 'SIGTERM', timedOut: true }, 30_000), 'no end within 30s');
  assert.equal(failureOf({ ...ended, status: 0, timedOut: true }, 90_000), 'no end within 1m30s');
  assert.equal(failureOf(ended, 30_000), 'it could not be ended');
});
