import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { fakeAudit } from '../support/fake-audit.ts';
import { until } from '../support/machine-time.ts';
import { getJson, PATIENCE_MS } from '../support/rollcall-process.ts';
import { startWorld } from './start-agent.ts';

test('a continuous audit whose loop broke is reported, gives up leadership, and does not disturb the agent', async (t) => {
  const world = await startWorld(t);
  const audit = fakeAudit(systemClock, 10);
  const config = { presenceTtlMs: 2_000, audit: { intervalMs: 200, clusters: 'roll' } } as const;
  const agent = await world.startAgent({ audit, config });
  const asked = () => getJson(`${agent.url}/v1/audit`);
  await until('there is a result', PATIENCE_MS, async () => (await asked()).status === 200);
  assert.equal((await asked()).body.broken, null);
  assert.ok((await agent.self()).loops.some(({ name }: { name: string }) => name === 'audit'));
  const connection = async () =>
    (await world.record())?.health.checks.find(({ name }: { name: string }) => name === 'ecs-connection');
  await until('ECS has it connected', PATIENCE_MS, async () => (await connection())?.status === 'passing');

  audit.release = () => {
    throw new TypeError('a defect');
  };
  agent.network.refused = ['renewLock'];
  await until('its loop broke', PATIENCE_MS, async () => (await asked()).body.broken !== null);
  const reason = 'stopped until the agent is restarted: a defect';
  const { status, body } = await asked();
  assert.deepEqual([status, body.broken, body.leader, body.report.agreeing], [200, reason, null, 20]);
  assert.deepEqual(
    agent.log().filter((line) => line.includes('a defect')),
    [`check ecs-connection is warning: not known: the auditor of this agent ${reason}`, `continuous audit: ${reason}`],
  );
  await until('what ECS said of it does not stay for ever', PATIENCE_MS, async () => {
    const { status: now, reason: why } = (await connection()) ?? {};
    return now === 'warning' && why === `not known: the auditor of this agent ${reason}`;
  });
  const metrics = await (await fetch(`${agent.url}/metrics`)).text();
  assert.match(metrics, /^rollcall_audit_leader 0$/m);
  // What does not run is not waited for: a restart is for a person to decide.
  assert.ok(!(await agent.self()).loops.some(({ name }: { name: string }) => name === 'audit'));
  await until('what it knows is too old', PATIENCE_MS, async () => (await asked()).body.stale);
  assert.match(
    (await asked()).body.staleReason,
    / old, more than 2s: the auditor of this agent stopped until .*: a defect$/,
  );
  await agent.leave();
  assert.equal((await world.record())?.departure?.cause, 'stopped');
});

test('an audit whose failure cannot even be described breaks its loop, not the process', async (t) => {
  const world = await startWorld(t);
  const audit = fakeAudit(systemClock, 10);
  audit.error = Object.defineProperty(new Error(), 'message', {
    get() {
      throw new TypeError('a defect');
    },
  });
  const config = { presenceTtlMs: 2_000, audit: { intervalMs: 200, clusters: 'roll' } } as const;
  const agent = await world.startAgent({ audit, config });
  await until('its loop broke', PATIENCE_MS, async () => {
    const { status, body } = await getJson(`${agent.url}/v1/audit`);
    return (
      status === 503 && body.detail.endsWith('the auditor of this agent stopped until the agent is restarted: a defect')
    );
  });
  await agent.leave();
});
