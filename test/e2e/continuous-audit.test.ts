import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { StoreError } from '../../src/store/store-errors.ts';
import { startWorld } from '../agent/start-agent.ts';
import { contractOf } from '../support/contract.ts';
import { fakeAudit } from '../support/fake-audit.ts';
import { until } from '../support/machine-time.ts';
import { getJson, PATIENCE_MS } from '../support/rollcall-process.ts';

const text = async (url: string) => (await fetch(url)).text();
const OFF = 'this agent takes no part in the continuous audit';

test('an agent without --audit-interval says how to enable the audit, and has no audit metrics', async (t) => {
  const world = await startWorld(t);
  const { url } = await world.startAgent();
  const { status, body } = await getJson(`${url}/v1/audit`);
  assert.equal(status, 404);
  assert.match(body.detail, new RegExp(`^${OFF}.*--audit-interval 5m`));
  assert.doesNotMatch(await text(`${url}/metrics`), /rollcall_audit/);
  assert.match(await text(`${url}/`), /^\/v1\/audit$/m);
  const { holder } = await world.store.leaderLocks.read('audit', [], new AbortController().signal);
  assert.equal(holder, null);
});

test('an agent with --audit-interval audits, reports the result, and releases its leader lock when it ends', async (t) => {
  const world = await startWorld(t);
  const audit = fakeAudit(systemClock, 50);
  const config = {
    presenceTtlMs: 2_000,
    audit: { intervalMs: 500, clusters: 'roll' },
  } as const;
  const agent = await world.startAgent({ audit, config });
  const { url, network } = agent;
  const early = await getJson(`${url}/v1/audit`);
  assert.equal(early.status, 503);
  assert.match(early.body.detail, /no audit has succeeded yet: /);
  assert.match(await text(`${url}/metrics`), /^rollcall_audit_stale 1$/m);

  const asked = async () => getJson(`${url}/v1/audit`);
  await until('there is a result', PATIENCE_MS, async () => (await asked()).status === 200);
  const { body } = await asked();
  assert.deepEqual(Object.keys(body).sort(), [
    'ageMs',
    'broken',
    'by',
    'intervalMs',
    'lastRun',
    'leader',
    'report',
    'revision',
    'stale',
    'staleReason',
  ]);
  assert.deepEqual(
    [body.stale, body.staleReason, body.broken, body.by.instanceId],
    [false, null, null, world.instanceId],
  );
  assert.equal(body.leader.session, body.by.session);
  assert.deepEqual([body.report.agreeing, body.report.differences[0].kind, body.report.omitted], [20, 'ghost', {}]);
  assert.ok(body.ageMs < PATIENCE_MS);
  const contract = contractOf((await getJson(`${url}/openapi.json`)).body);
  assert.equal((await contract.answer(url, '/v1/audit')).status, 200);

  await until('the next one', PATIENCE_MS, () => audit.runs > 2);
  const metrics = await text(`${url}/metrics`);
  for (const line of [
    'rollcall_audit_nodes{result="agreeing"} 20',
    'rollcall_audit_nodes{result="ghost"} 1',
    'rollcall_audit_nodes{result="mismatch"} 0',
    'rollcall_audit_leader 1',
    'rollcall_audit_stale 0',
    'rollcall_audit_failing 0',
    'rollcall_audit_failures_total{cause="denied"} 0',
  ]) {
    assert.ok(metrics.includes(`\n${line}\n`), line);
  }
  assert.ok(agent.log().includes('this agent audits the fleet now'));
  assert.equal(agent.log().filter((line) => line.includes('the audit found')).length, 1, 'logged once');
  assert.ok((await agent.self()).loops.some(({ name }: { name: string }) => name === 'audit'));

  audit.error = new StoreError('the roll cannot be read', { retryable: true });
  await until('it fails', PATIENCE_MS, async () => (await asked()).body.lastRun.error !== null);
  await until('it is stale', PATIENCE_MS, async () => (await asked()).body.stale);
  const failing = await asked();
  assert.match(failing.body.staleReason, /^the last result is .* old, more than 3s: the last audit failed: the roll/);
  assert.match(await text(`${url}/metrics`), /^rollcall_audit_failing 1$/m);
  assert.doesNotMatch(await text(`${url}/metrics`), /^rollcall_audit_failures_total\{cause="store"\} 0$/m);

  network.refused = ['readLock', 'renewLock', 'publish', 'campaign'];
  await until('the store is away', PATIENCE_MS, async () => (await asked()).status === 503);
  const away = await asked();
  assert.match(away.body.detail, /connection refused/);
  assert.equal(away.body.lastKnown.agreeing, 20);
  assert.equal((await getJson(`${url}/healthz`)).status, 200);
  network.refused = [];
  audit.error = null;
  await until('it goes on', PATIENCE_MS, async () => (await asked()).body.stale === false);

  await agent.leave();
  const { holder } = await world.store.leaderLocks.read('audit', [], new AbortController().signal);
  assert.equal(holder, null);
  assert.ok(audit.releases > 0);
});
