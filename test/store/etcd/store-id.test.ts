import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { closeTestKvs, never, openTestKv } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';

describe('the id of a store on etcd', () => {
  let server: EtcdServer;
  before(async () => {
    server = await startEtcd();
  });
  after(async () => {
    await closeTestKvs();
    await server.dispose();
  });

  it('is the cluster as etcdctl names it, and the prefix', async () => {
    const members = await server.etcdctl('member', 'list', '-w', 'json');
    // The number is larger than JSON.parse keeps exact.
    const clusterId = BigInt(/"cluster_id":(\d+)/.exec(members)?.[1] ?? 0).toString(16);
    assert.equal(await openTestKv(server.endpoints).id(never), `${clusterId}/rollcall`);
    assert.equal(await openTestKv(server.endpoints, { prefix: '/teams/a' }).id(never), `${clusterId}/teams/a`);
  });

  it('is the same by whatever name the cluster is reached', async () => {
    const byName = openTestKv([server.clientUrl.replace('127.0.0.1', 'localhost')]);
    assert.equal(await byName.id(never), await openTestKv(server.endpoints).id(never));
  });

  it('is not guessed while etcd is away', async () => {
    const kv = openTestKv(['http://127.0.0.1:1']);
    await assert.rejects(kv.id(never), { name: 'StoreError', retryable: true });
  });
});
