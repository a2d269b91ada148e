import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { DeadlineError, withDeadline } from '../../src/lib/deadline.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const forever = () => new Promise<never>(() => {});

test('work that ignores its signal still ends at the deadline, with the limit in the error', async () => {
  const clock = simulatedClock();
  let given: AbortSignal | undefined;
  const work = withDeadline(clock, 500, new AbortController().signal, 'renew', (signal) => {
    given = signal;
    return forever();
  });
  const ended = assert.rejects(
    work,
    (error) => error instanceof DeadlineError && error.message === 'renew: no answer within 500 ms',
  );
  await clock.advance(500);
  await ended;
  assert.ok(given?.aborted);
});

test('the caller’s signal ends it with its own reason', async () => {
  const stop = new AbortController();
  const work = withDeadline(simulatedClock(), 500, stop.signal, 'renew', forever);
  stop.abort(new Error('leaving'));
  await assert.rejects(work, /leaving/);
});

test('after the work no sleeper and no listener is left', async () => {
  const clock = simulatedClock();
  const { signal } = new AbortController();
  assert.equal(await withDeadline(clock, 500, signal, 'x', async () => 7), 7);
  const late = assert.rejects(withDeadline(clock, 500, signal, 'y', forever), DeadlineError);
  await clock.advance(500);
  await late;
  assert.equal(clock.sleepers(), 0);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});
