import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPacer } from '../../src/lib/clock.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const { signal } = new AbortController();

test('all callers share one rate, and one that gives up leaves its turn to the next', async () => {
  const clock = simulatedClock();
  const turn = createPacer(clock, 2);
  const startMs = clock.monotonicMs();
  const turns: [string, number][] = [];
  const take = (name: string, by = signal) => turn(by).then(() => turns.push([name, clock.monotonicMs() - startMs]));
  await take('first');
  const impatient = new AbortController();
  const givenUp = assert.rejects(take('impatient', impatient.signal), /gave up/);
  await clock.advance(100);
  impatient.abort(new Error('gave up'));
  await givenUp;
  const others = Promise.all([take('second'), take('third')]);
  await clock.advance(2_000);
  await others;
  assert.deepEqual(turns, [
    ['first', 0],
    ['second', 500],
    ['third', 1_000],
  ]);
  await assert.rejects(turn(AbortSignal.abort(new Error('over'))), /over/);
});
