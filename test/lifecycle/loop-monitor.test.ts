import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLoopMonitor } from '../../src/lifecycle/loop-monitor.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

test('a loop’s age is the time since its last step, each loop’s for itself', async () => {
  const clock = simulatedClock();
  const monitor = createLoopMonitor(clock);
  const step = monitor.track('publisher', 30_000);
  monitor.track('imds', 90_000);
  await clock.advance(40_000);
  step();
  await clock.advance(1_000);
  assert.deepEqual(monitor.ages(), [
    { name: 'publisher', ageMs: 1_000, limitMs: 30_000 },
    { name: 'imds', ageMs: 41_000, limitMs: 90_000 },
  ]);
});
