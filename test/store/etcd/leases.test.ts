import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Kv } from '../../../src/store/kv.ts';
import { createRollStore } from '../../../src/store/open-store.ts';
import { startFakeGateway } from '../../support/etcd-impostors.ts';
import { closeTestKvs, collect, never, openTestKv, putAll } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { sampleRecord } from '../../support/sample-record.ts';

describe('a lease of etcd', () => {
  let server: EtcdServer;
  let kv: Kv;
  before(async () => {
    server = await startEtcd();
    kv = openTestKv(server.endpoints);
  });
  after(async () => {
    await closeTestKvs();
    await server.dispose();
  });

  it('is granted for at least the time asked, and its TTL says for how long', async () => {
    assert.equal((await kv.grant(30_000, never)).ttlMs, 30_000);
    assert.equal((await kv.grant(30_001, never)).ttlMs, 31_000);
    assert.ok((await kv.grant(1_000, never)).ttlMs >= 1_500, 'etcd has a minimum');
  });

  it('can be kept alive while it is there', async () => {
    const { lease } = await kv.grant(60_000, never);
    assert.equal(await kv.keepAlive(lease, never), true);
    assert.equal(await kv.keepAlive('12345', never), false);
  });

  it('is released only when it holds no keys', async () => {
    const { lease } = await kv.grant(60_000, never);
    await putAll(kv, { 'k/a': '1' }, lease);
    await kv.releaseEmpty(lease, never);
    assert.equal(await kv.keepAlive(lease, never), true);
    await kv.txn({ guards: [], puts: [], deletes: ['k/a'], reads: [] }, never);
    await kv.releaseEmpty(lease, never);
    assert.equal(await kv.keepAlive(lease, never), false);
    await kv.releaseEmpty(lease, never);
  });

  it('costs no Raft write in ten minutes of beats and a watch that is confirmed', async () => {
    const { lease } = await kv.grant(30_000, never);
    const revision = await putAll(kv, { 'p/a': '1' }, lease);
    const proposals = () => server.metric('etcd_server_proposals_committed_total');
    const before = await proposals();
    for (let beat = 0; beat < 60; beat += 1) assert.equal(await kv.keepAlive(lease, never), true);
    await collect(kv, revision, (batches) => batches.length > 0);
    assert.equal(await proposals(), before);
    await putAll(kv, { 'p/a': '2' }, lease);
    assert.equal(await proposals(), before + 1, 'the metric counts writes');
  });

  it('costs no Raft write when many are asked how much is left of them', async () => {
    const leases = await Promise.all(Array.from({ length: 32 }, async () => (await kv.grant(60_000, never)).lease));
    const before = await server.metric('etcd_server_proposals_committed_total');
    const times = await kv.remaining(leases, never);
    assert.equal(times.filter((time) => time?.grantedMs === 60_000).length, 32);
    assert.equal(await server.metric('etcd_server_proposals_committed_total'), before);
  });

  it('costs no Raft write in beats that look at the seat as well', async () => {
    let looks = 0;
    const spying = Object.assign(Object.create(kv) as Kv, {
      txn: (...call: Parameters<Kv['txn']>) => {
        looks += call[0].puts.length === 0 ? 1 : 0;
        return kv.txn(...call);
      },
    });
    const store = createRollStore(spying);
    const record = sampleRecord();
    const seat = { instanceId: record.ec2InstanceId, session: 'a', since: 'x', ttlMs: 30_000, retentionMs: 60_000 };
    const outcome = await store.register(seat, record, { takeover: true, signal: never });
    if (outcome.kind !== 'registered') assert.fail(outcome.kind);
    const before = await server.metric('etcd_server_proposals_committed_total');
    looks = 0;
    for (let beat = 0; beat < 30; beat += 1) {
      assert.deepEqual(await store.renew(outcome.hold, never), { kind: 'renewed' });
    }
    assert.equal(looks, 10);
    assert.equal(await server.metric('etcd_server_proposals_committed_total'), before);
  });

  it('is not given up for an answer that says nothing about it', async () => {
    const gateway = await startFakeGateway((_, response) => response.end('{}'));
    const fooled = openTestKv([gateway.url]);
    await assert.rejects(fooled.keepAlive('77', never), { name: 'StoreError', retryable: true });
    await assert.rejects(fooled.grant(30_000, never), { name: 'StoreError', retryable: true });
    await assert.rejects(fooled.remaining(['77'], never), { name: 'StoreError', retryable: true });
    await assert.rejects(fooled.id(never), { name: 'StoreError', retryable: true });
    await gateway.close();
  });
});
