import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEtcd } from '../../support/etcd-server.ts';
import { timed, until } from '../../support/machine-time.ts';
import { startPublishers } from '../../support/publishers.ts';

const never = new AbortController().signal;

async function startOne(t: TestContext) {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const [agent] = await startPublishers(t, etcd.endpoints, { count: 1, ttlMs: 30_000 });
  assert.ok(agent);
  const registrations = () => agent.state().counts.registrations;
  return { etcd, agent, registrations };
}

test('what something else removes is back within a second at a TTL of 30 s', { timeout: 120_000 }, async (t) => {
  const { etcd, agent, registrations } = await startOne(t);
  const { instanceId, state } = agent;
  const removals = {
    'the presence is deleted': () => etcd.etcdctl('del', `/rollcall/v1/presence/${instanceId}`),
    'the record is deleted': () => etcd.etcdctl('del', `/rollcall/v1/records/${instanceId}`),
    'all is deleted': () => etcd.etcdctl('del', '--prefix', '/rollcall/'),
    'the lease is revoked': () =>
      etcd.etcdctl('lease', 'revoke', BigInt(state().hold?.presenceLease ?? 0).toString(16)),
  };
  let known = registrations();
  for (const [what, remove] of Object.entries(removals)) {
    await remove();
    await until(`back after ${what}`, 1_000, () => registrations() > known);
    known += 1;
    const { entry } = await agent.store.readOne(instanceId, never);
    assert.ok(entry?.presence, what);
  }
  assert.deepEqual([registrations(), state().counts.losses], [5, 4]);
});

test('the watch outlives a restart of etcd, and nothing is written while nothing changes', {
  timeout: 120_000,
}, async (t) => {
  const { etcd, agent, registrations } = await startOne(t);
  await etcd.restart();
  // A change is written only by a store that answers again; the watch follows within the first pause.
  agent.want({ privateIpAddress: '10.0.0.9' });
  await until('the change is written', 30_000, () => agent.state().counts.recordWrites === 2);
  const count = () => etcd.metric('etcd_server_proposals_committed_total');
  let proposals = await count();
  const standsStill = async () => {
    const before = proposals;
    proposals = await count();
    return proposals === before;
  };
  await until('etcd has counted all', 10_000, standsStill, { everyMs: 500 });
  await sleep(2_000);
  assert.equal(await count(), proposals);
  await etcd.etcdctl('del', `/rollcall/v1/presence/${agent.instanceId}`);
  await until('back', 1_000, () => registrations() === 2);
});

test('an agent hears at once that another session has registered its node', { timeout: 120_000 }, async (t) => {
  const { etcd, agent } = await startOne(t);
  await startPublishers(t, etcd.endpoints, { count: 1, ttlMs: 30_000, session: 'young' });
  const [last, tookMs] = await timed(agent.ended);
  assert.deepEqual([last.phase, last.supersededBy], ['superseded', 'young']);
  assert.ok(tookMs < 1_000, `${tookMs} ms`);
});

test('an agent that was started since a backup stays when that is restored', { timeout: 120_000 }, async (t) => {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-backup-'));
  t.after(() => rm(dir, { recursive: true }));
  const start = async (session: string, registeredAt: string) => {
    const [agent] = await startPublishers(t, etcd.endpoints, { count: 1, ttlMs: 30_000, session, registeredAt });
    return agent ?? assert.fail('no agent');
  };
  const old = await start('old', '2026-01-01T00:00:00.000Z');
  await etcd.etcdctl('snapshot', 'save', join(dir, 'backup.db'));
  const young = await start('young', '2026-01-02T00:00:00.000Z');
  assert.equal((await old.ended).phase, 'superseded');
  await etcd.restore(join(dir, 'backup.db'));
  const isDecided = () => young.state().counts.registrations === 2 || young.state().phase === 'superseded';
  await until('it is registered again', 60_000, isDecided);
  const { phase, supersededBy } = young.state();
  assert.deepEqual([phase, supersededBy], ['held', null]);
  const { entry } = await young.store.readOne(young.instanceId, never);
  assert.deepEqual([entry?.presence?.session, entry?.record.sidecar.session], ['young', 'young']);
});
