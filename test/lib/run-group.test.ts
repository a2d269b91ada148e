import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { untilAborted } from '../../src/lib/abort.ts';
import { createLoopMonitor, runGroup } from '../../src/lib/run-group.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

describe('loop monitor', () => {
  test('a loop’s age is the time since its own last step', async () => {
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

  test('a loop that does not run is never late, and counts again from its first step', async () => {
    const clock = simulatedClock();
    const monitor = createLoopMonitor(clock);
    let runs = false;
    const step = monitor.track('registry', 60_000, () => runs);
    await clock.advance(600_000);
    assert.deepEqual(monitor.ages(), []);
    runs = true;
    step();
    await clock.advance(1_000);
    assert.deepEqual(monitor.ages(), [{ name: 'registry', ageMs: 1_000, limitMs: 60_000 }]);
  });

  test('loops of one kind have one name, and the one nearest to its limit counts', async () => {
    const clock = simulatedClock();
    const monitor = createLoopMonitor(clock);
    monitor.track('checks', 600_000);
    const quick = monitor.track('checks', 10_000);
    await clock.advance(20_000);
    assert.deepEqual(monitor.ages(), [{ name: 'checks', ageMs: 20_000, limitMs: 10_000 }]);
    quick();
    await clock.advance(595_000);
    quick();
    assert.deepEqual(monitor.ages(), [{ name: 'checks', ageMs: 615_000, limitMs: 600_000 }]);
  });
});

describe('run group', () => {
  test('the first task to end ends the others, and the group waits for them', async () => {
    const ended: string[] = [];
    const slow = (signal: AbortSignal) => untilAborted(signal).finally(() => ended.push('slow'));
    assert.equal(await runGroup<number>([slow, async () => 7], new AbortController().signal), 7);
    assert.deepEqual(ended, ['slow']);
  });

  test('the first cause wins over what it causes', async () => {
    const fails = async () => {
      throw new Error('first');
    };
    const consequence = (signal: AbortSignal) => untilAborted(signal).catch(() => Promise.reject(new Error('second')));
    await assert.rejects(runGroup([consequence, fails], new AbortController().signal), /first/);
  });

  test('the caller’s signal ends all with its reason', async () => {
    const stop = new AbortController();
    const group = runGroup([untilAborted, untilAborted], stop.signal);
    stop.abort(new Error('stop'));
    await assert.rejects(group, /stop/);
  });
});
