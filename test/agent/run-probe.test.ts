import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Observation } from '../../src/checks/check.ts';
import { runProbe } from '../../src/checks/run-probes.ts';
import { type SimulatedClock, simulatedClock } from '../support/simulated-clock.ts';

const passing: Observation = { status: 'passing', reason: '' };

function run(
  t: TestContext,
  clock: SimulatedClock,
  look: (signal: AbortSignal) => Promise<Observation>,
  limits: { intervalMs?: number; timeoutMs?: number; delayMs?: number } = {},
) {
  const { intervalMs = 10_000, timeoutMs = 1_000, delayMs = 0 } = limits;
  const stop = new AbortController();
  t.after(() => stop.abort());
  const startMs = clock.monotonicMs();
  const looks: { seen: Observation; atMs: number; durationMs: number }[] = [];
  const started: number[] = [];
  const probe = {
    name: 'app',
    intervalMs,
    timeoutMs,
    look: (signal: AbortSignal) => {
      started.push(clock.monotonicMs() - startMs);
      return look(signal);
    },
  };
  const onLook = (seen: Observation, durationMs: number) =>
    looks.push({ seen, durationMs, atMs: clock.monotonicMs() - startMs });
  const ended = runProbe({ probe, delayMs, clock, onLook, onStep: () => {} }, stop.signal);
  ended.catch(() => {});
  return { looks, started, stop, ended };
}

test('looks begin at the delay and keep to its beat, however long one takes', async (t) => {
  const clock = simulatedClock();
  const slow = async (signal: AbortSignal) => {
    await clock.sleep(900, signal);
    return passing;
  };
  const { started, looks } = run(t, clock, slow, { delayMs: 3_000 });
  await clock.advance(25_000);
  assert.deepEqual(started, [3_000, 13_000, 23_000]);
  assert.deepEqual(looks[0], { seen: passing, durationMs: 900, atMs: 3_900 });
});

test('a look that outlasts its interval does not make the next ones pile up', async (t) => {
  const clock = simulatedClock();
  const slow = (signal: AbortSignal) => clock.sleep(2_500, signal).then(() => passing);
  const { started } = run(t, clock, slow, { intervalMs: 1_000, timeoutMs: 5_000 });
  await clock.advance(6_900);
  assert.deepEqual(started, [0, 3_000, 6_000]);
});

test('a look that throws is critical with the reason, and the loop goes on', async (t) => {
  const clock = simulatedClock();
  const { looks } = run(t, clock, () => Promise.reject(new Error('no such program')));
  await clock.advance(10_000);
  assert.deepEqual(
    looks.map(({ seen }) => seen),
    Array(2).fill({ status: 'critical', reason: 'no such program' }),
  );
});

test('a look that hangs and ignores its signal is critical in the same words each time, and holds nothing up for good', async (t) => {
  const clock = simulatedClock();
  let hang = true;
  const { looks } = run(t, clock, () => (hang ? new Promise(() => {}) : Promise.resolve(passing)));
  await clock.advance(39_000);
  assert.deepEqual(
    looks.map(({ seen }) => seen),
    Array(4).fill({ status: 'critical', reason: 'no answer within 1s' }),
  );
  hang = false;
  await clock.advance(10_000);
  assert.deepEqual(looks.at(-1)?.seen, passing);
});

test('it ends with the signal’s reason, also in the middle of a look', async (t) => {
  const clock = simulatedClock();
  const { stop, ended } = run(t, clock, () => new Promise(() => {}));
  await clock.advance(0);
  const reason = new Error('stop');
  stop.abort(reason);
  await assert.rejects(ended, (error) => error === reason);
});
