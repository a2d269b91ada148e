import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { openProbes } from '../../src/checks/run-probes.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { scaledClock } from '../support/scaled-clock.ts';
import { startWorld } from './start-agent.ts';

interface Source {
  readonly reads: number;
  readonly lastError: string | null;
}

test('an operator’s command that fails is in the record after three runs, and well again after two: two writes', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-checks-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const flag = join(dir, 'healthy');
  await writeFile(flag, '');
  // A first read has a second, and so four: it is not repeated below.
  const clock = scaledClock(0.25);
  const checks = {
    dockerSocket: null,
    disk: null,
    http: [],
    // It takes so long that its duration is not 0 on a busy machine, where this clock is slow.
    exec: [{ name: 'app', argv: ['/bin/sh', '-c', 'sleep 0.2; exec test -e "$0"', flag] as const }],
    intervalMs: 100,
    timeoutMs: 2_000,
    rise: 2,
    fall: 3,
  };
  const { probes, close } = openProbes(checks, { clock, env: process.env, owner: 'test' });
  t.after(close);
  const world = await startWorld(t, clock);
  // Once the node is known nothing else is read, so that nothing else can change the record.
  const once = { metadataIntervalMs: 600_000, introspectionIntervalMs: 600_000, noticeIntervalMs: 600_000 };
  const agent = await world.startAgent({ probes, config: { checks, ...once } });
  const app = async () => (await agent.self()).checks.find((check: { name: string }) => check.name === 'app');
  const status = async () => (await world.record())?.health.status;
  await until('it was looked at', PATIENCE_MS, async () => (await app())?.status === 'passing');
  await until('all is known and well', PATIENCE_MS, async () => {
    // On a busy machine a source may answer later than the others, and its write be one more; until its answer is complete
    // it is read again soon.
    const { record, sources } = await agent.self();
    const isKnown = record.containerInstanceArn !== null && record.health.status === 'passing';
    const haveAnswered = sources.every((each: Source) => each.reads > 0 && each.lastError === null);
    return isKnown && haveAnswered && isDeepStrictEqual(record, await world.record());
  });
  const records = world.records();
  const isUpToDate = async () => isDeepStrictEqual(records.at(-1), await world.record());
  await until('the writes up to now have been read', PATIENCE_MS, isUpToDate);
  const before = records.length;

  await rm(flag);
  const failuresBefore = (await app()).failures;
  await until('the node is warned about', PATIENCE_MS, async () => (await status()) === 'warning');
  const failing = await app();
  assert.ok(failing.failures - failuresBefore >= 3, `${failing.failures} failures`);
  assert.deepEqual([failing.published, failing.status], [true, 'warning']);
  assert.ok(failing.looks > failing.failures && failing.ageMs >= 0 && failing.lastDurationMs > 0);

  await writeFile(flag, '');
  await until('the node is well again', PATIENCE_MS, async () => (await status()) === 'passing');
  const runs = (await app()).looks;
  await until('it ran more often', PATIENCE_MS, async () => (await app()).looks > runs + 2);
  await until('the writes since then have been read', PATIENCE_MS, isUpToDate);
  assert.deepEqual(
    records.slice(before).map(({ health }) => health.status),
    ['warning', 'passing'],
    JSON.stringify(records.slice(before)),
  );
  assert.deepEqual(
    agent.log().filter((line) => line.startsWith('check app')),
    [`check app is warning: ${failing.reason}`, 'check app passes again'],
  );
});

test('the store’s check is reported by this agent alone, and never in the record', async (t) => {
  const world = await startWorld(t);
  const agent = await world.startAgent();
  const store = async () => (await agent.self()).checks.find((check: { name: string }) => check.name === 'store');
  await until('the store was looked at', PATIENCE_MS, async () => (await store())?.status === 'passing');
  assert.equal((await store()).published, false);
  assert.deepEqual(
    (await world.record())?.health.checks.map(({ name }) => name),
    ['metadata', 'ecs-agent', 'notices'],
  );
});
