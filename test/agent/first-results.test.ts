import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Probe } from '../../src/checks/probe.ts';
import { startRawServer } from '../sources/start-raw-server.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { scaledClock } from '../support/scaled-clock.ts';
import { startWorld } from './start-agent.ts';

const checks = { dockerSocket: null, disk: null, http: [], exec: [], intervalMs: 60_000, timeoutMs: 500, rise: 2 };

/** A probe of which the first `failing` runs fail. */
function slowToStart(failing: number): Probe & { runs: () => number } {
  let runs = 0;
  return {
    ...{ name: 'app', intervalMs: 60_000, timeoutMs: 500, runs: () => runs },
    async run() {
      runs += 1;
      return runs > failing ? { status: 'passing', reason: '' } : { status: 'critical', reason: 'no answer within 5s' };
    },
  };
}

test('a host that is busy booting is not published as critical for its first results', async (t) => {
  // A read has a second, and so two: a busy machine is no third failure.
  const world = await startWorld(t, scaledClock(0.5));
  let asked = 0;
  const ecsAgent = await startRawServer(t, (_, res) => {
    asked += 1;
    if (asked <= 2) res.writeHead(503).end();
    else res.end('{"Cluster":"demo","ContainerInstanceArn":null,"Version":""}');
  });
  const probe = slowToStart(2);
  const records = world.records();
  const config = { introspectionEndpoint: ecsAgent.endpoint, checks: { ...checks, fall: 3 } };
  await world.startAgent({ probes: [probe], config });
  await until('both are known', PATIENCE_MS, async () => {
    const now = (await world.record())?.health.checks ?? [];
    return ['ecs-agent', 'app'].every((name) => now.some((check) => check.name === name));
  });
  assert.ok(asked >= 3 && probe.runs() === 3, `${asked} and ${probe.runs()} runs`);
  const told = new Set(records.flatMap(({ health }) => [health.status, ...health.checks.map(({ status }) => status)]));
  assert.equal(told.has('critical'), false);
});

test('one that stays bad is critical after as many results as --check-fall says, long before that many intervals', async (t) => {
  const world = await startWorld(t);
  const probe = slowToStart(Number.POSITIVE_INFINITY);
  await world.startAgent({ probes: [probe], config: { checks: { ...checks, fall: 3 } } });
  await until('it is critical', PATIENCE_MS, async () => (await world.record())?.health.status === 'critical');
  assert.equal(probe.runs(), 3);
});

test('an agent that restarts on a critical node does not publish it as passing meanwhile', async (t) => {
  const world = await startWorld(t);
  const start = (fall: number, ...probes: Probe[]) =>
    world.startAgent({ probes, config: { checks: { ...checks, fall } } });
  const app = async () => {
    const record = await world.record();
    return record?.departure === null ? record.health.checks.find(({ name }) => name === 'app') : undefined;
  };
  const first = await start(2, slowToStart(99));
  await until('it is critical', PATIENCE_MS, async () => (await app())?.status === 'critical');
  const critical = await app();
  const records = world.records();
  await first.leave();

  // Of two checks the second is looked at half an interval after the start.
  const unlooked = slowToStart(99);
  const second = await start(9, { ...slowToStart(0), name: 'web' }, unlooked);
  await until('the first check was looked at', PATIENCE_MS, async () =>
    ((await world.record())?.health.checks ?? []).some(({ name }) => name === 'web'),
  );
  assert.deepEqual([await app(), unlooked.runs()], [critical, 0]);
  await second.leave();

  // Of one check, the first result confirms what the last record says.
  const third = await start(9, slowToStart(99));
  await until('it was looked at', PATIENCE_MS, async () =>
    (await third.self()).checks.some(({ name }: { name: string }) => name === 'app'),
  );
  assert.deepEqual(await app(), critical);
  assert.deepEqual([...new Set(records.map(({ health }) => health.status))], ['critical']);
  await third.leave();

  // What is not configured any more is not kept.
  await start(9);
  await until('the check is gone', PATIENCE_MS, async () => (await world.record())?.health.status === 'passing');
});
