import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { Observation } from '../../src/checks/check.ts';
import type { CheckConfig } from '../../src/checks/probe.ts';
import { firstRunMs, nextRunMs, openProbes, runProbe } from '../../src/checks/run-probes.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { type SimulatedClock, simulatedClock } from '../support/simulated-clock.ts';

describe('run probe', () => {
  const passing: Observation = { status: 'passing', reason: '' };

  function run(
    t: TestContext,
    clock: SimulatedClock,
    probeOnce: (signal: AbortSignal) => Promise<Observation>,
    limits: { intervalMs?: number; timeoutMs?: number; delayMs?: number } = {},
  ) {
    const { intervalMs = 10_000, timeoutMs = 1_000, delayMs = 0 } = limits;
    const stop = new AbortController();
    t.after(() => stop.abort());
    const startMs = clock.monotonicMs();
    const results: { seen: Observation; atMs: number; durationMs: number }[] = [];
    const started: number[] = [];
    const probe = {
      name: 'app',
      intervalMs,
      timeoutMs,
      run: (signal: AbortSignal) => {
        started.push(clock.monotonicMs() - startMs);
        return probeOnce(signal);
      },
    };
    const onResult = (seen: Observation, durationMs: number) =>
      results.push({ seen, durationMs, atMs: clock.monotonicMs() - startMs });
    const ended = runProbe({ probe, delayMs, fall: 3, clock, onResult, onStep: () => {} }, stop.signal);
    ended.catch(() => {});
    return { results, started, stop, ended };
  }

  test('runs start after the delay and then at the interval, however long one takes', async (t) => {
    const clock = simulatedClock();
    const slow = async (signal: AbortSignal) => {
      await clock.sleep(900, signal);
      return passing;
    };
    const { started, results } = run(t, clock, slow, { delayMs: 3_000 });
    await clock.advance(25_000);
    assert.deepEqual(started, [3_000, 13_000, 23_000]);
    assert.deepEqual(results[0], { seen: passing, durationMs: 900, atMs: 3_900 });
  });

  test('a run that takes longer than the interval does not queue up further runs', async (t) => {
    const clock = simulatedClock();
    const slow = (signal: AbortSignal) => clock.sleep(2_500, signal).then(() => passing);
    const { started } = run(t, clock, slow, { intervalMs: 1_000, timeoutMs: 5_000 });
    await clock.advance(6_900);
    assert.deepEqual(started, [0, 3_000, 6_000]);
  });

  test('a run that throws is critical with the error as the reason, and the loop continues', async (t) => {
    const clock = simulatedClock();
    const { results } = run(t, clock, () => Promise.reject(new Error('no such program')));
    await clock.advance(0);
    assert.deepEqual(
      results.map(({ seen }) => seen),
      Array(2).fill({ status: 'critical', reason: 'no such program' }),
    );
  });

  test('what fails at the start runs again at once and a second later, until there is a verdict or it passes', async (t) => {
    const clock = simulatedClock();
    const bad: Observation = { status: 'critical', reason: 'busy' };
    const failing = run(t, clock, async () => bad);
    let runs = 0;
    const booting = run(t, clock, async () => (++runs < 3 ? bad : passing));
    let later = 0;
    const failingLater = run(t, clock, async () => (++later > 1 ? bad : passing));
    await clock.advance(25_000);
    assert.deepEqual(failing.started, [0, 0, 1_000, 10_000, 20_000]);
    assert.deepEqual(booting.started, [0, 0, 1_000, 10_000, 20_000]);
    assert.deepEqual(failingLater.started, [0, 10_000, 20_000]);
  });

  test('a run that hangs and ignores its signal is critical with the same reason each time, and the loop continues', async (t) => {
    const clock = simulatedClock();
    let hang = true;
    const { results } = run(t, clock, () => (hang ? new Promise(() => {}) : Promise.resolve(passing)));
    await clock.advance(29_000);
    assert.deepEqual(
      results.map(({ seen }) => seen),
      Array(4).fill({ status: 'critical', reason: 'no answer within 1s' }),
    );
    hang = false;
    await clock.advance(10_000);
    assert.deepEqual(results.at(-1)?.seen, passing);
  });

  test('the loop ends with the signal’s reason, also during a run', async (t) => {
    const clock = simulatedClock();
    const { stop, ended } = run(t, clock, () => new Promise(() => {}));
    await clock.advance(0);
    const reason = new Error('stop');
    stop.abort(reason);
    await assert.rejects(ended, (error) => error === reason);
  });
});

describe('open probes', () => {
  const config: CheckConfig = {
    dockerSocket: null,
    disk: { path: '/', warningPercent: 15, criticalPercent: 5 },
    http: [{ name: 'web', url: 'http://127.0.0.1:1/' }],
    exec: [{ name: 'own', argv: ['true'] }],
    intervalMs: 10_000,
    timeoutMs: 5_000,
    rise: 2,
    fall: 3,
  };

  async function names(overrides: Partial<CheckConfig>): Promise<string[]> {
    const opened = openProbes({ ...config, ...overrides }, { clock: systemClock, env: {}, owner: 'test' });
    await opened.close();
    return opened.probes.map((probe) => probe.name);
  }

  test('each configured check has a probe, with the common interval and timeout', async () => {
    assert.deepEqual(await names({}), ['disk', 'web', 'own']);
    assert.deepEqual(await names({ disk: null, http: [], exec: [] }), []);
    const { probes, close } = openProbes(config, { clock: systemClock, env: {}, owner: 'test' });
    for (const probe of probes) assert.deepEqual([probe.intervalMs, probe.timeoutMs], [10_000, 5_000]);
    await close();
  });

  test('docker is checked only if its socket exists at the start', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'rollcall-open-'));
    const socket = join(dir, 'docker.sock');
    const server = createServer((_, response) => response.end('OK')).listen(socket);
    try {
      await once(server, 'listening');
      await writeFile(join(dir, 'file'), '');
      assert.deepEqual(await names({ dockerSocket: socket }), ['docker', 'disk', 'web', 'own']);
      for (const path of [join(dir, 'none'), join(dir, 'file'), join(dir, 'file', 'below'), dir]) {
        assert.deepEqual(await names({ dockerSocket: path }), ['disk', 'web', 'own'], path);
      }
      const { probes, close } = openProbes(
        { ...config, dockerSocket: socket },
        { clock: systemClock, env: {}, owner: 'test' },
      );
      assert.equal((await probes[0]?.run(new AbortController().signal))?.status, 'passing');
      await close();
    } finally {
      server.close();
      await rm(dir, { recursive: true });
    }
  });

  test('commands run in the given environment', async () => {
    const exec = [{ name: 'own', argv: ['sh', '-c', 'echo "$WHO"; exit 1'] as const }];
    const env = { PATH: process.env['PATH'], WHO: 'operator' };
    const { probes, close } = openProbes(
      { ...config, disk: null, http: [], exec },
      { clock: systemClock, env, owner: 'test' },
    );
    assert.equal((await probes[0]?.run(new AbortController().signal))?.reason, 'operator');
    await close();
  });
});

describe('stagger', () => {
  test('first runs are spread evenly over one interval, the first at once', () => {
    assert.deepEqual(
      [0, 1, 2, 3].map((index) => firstRunMs(index, 4, 10_000)),
      [0, 2_500, 5_000, 7_500],
    );
    assert.equal(firstRunMs(0, 1, 10_000), 0);
  });

  test('the next run is a whole number of intervals later, skips missed runs, and is never in the past', () => {
    assert.equal(nextRunMs(1_000, 10_000, 1_000), 11_000);
    assert.equal(nextRunMs(1_000, 10_000, 4_000), 11_000);
    assert.equal(nextRunMs(1_000, 10_000, 11_000), 21_000);
    assert.equal(nextRunMs(1_000, 10_000, 38_000), 41_000);
    // A timer may fire slightly early.
    assert.equal(nextRunMs(1_000, 10_000, 999.5), 11_000);
    // One interval later, less a rounding error of the division.
    const dueMs = firstRunMs(2, 9, 10_000) + 30_000;
    assert.ok(nextRunMs(dueMs, 10_000, dueMs + 10_000) > dueMs + 10_000);
  });

  test('however long runs take, no two checks are due closer together than their spread', () => {
    const intervalMs = 10_000;
    const durationMs = fc.integer({ min: 0, max: 25_000 });
    fc.assert(
      fc.property(
        fc.array(fc.array(durationMs, { minLength: 5, maxLength: 30 }), { minLength: 2, maxLength: 20 }),
        (checks) => {
          const due = checks.flatMap((durations, index) => {
            let dueMs = firstRunMs(index, checks.length, intervalMs);
            return durations.map((tookMs) => {
              const began = dueMs;
              dueMs = nextRunMs(dueMs, intervalMs, began + tookMs);
              assert.ok(dueMs > began + tookMs);
              return { index, began };
            });
          });
          due.sort((a, b) => a.began - b.began);
          for (const [position, { index, began }] of due.entries()) {
            const next = due[position + 1];
            if (next && next.index !== index) assert.ok(next.began - began > intervalMs / checks.length - 0.01);
          }
        },
      ),
    );
  });
});
