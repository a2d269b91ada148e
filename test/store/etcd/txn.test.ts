import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LeaseNotFoundError } from '../../../src/store/errors.ts';
import type { Kv } from '../../../src/store/kv.ts';
import { closeTestKvs, never, openTestKv, putAll } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';

describe('a transaction on etcd', () => {
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

  it('answers its reads as they were before its writes, whether these happened or not', async () => {
    await putAll(kv, { 'r/a': 'old' });
    const txn = {
      guards: [{ key: 'r/b', modRevision: '0' }],
      puts: [
        { key: 'r/a', value: 'new', lease: '0' },
        { key: 'r/b', value: 'b', lease: '0' },
      ],
      deletes: [],
      reads: ['r/b', 'r/a'],
    };
    const first = await kv.txn(txn, never);
    assert.equal(first.succeeded, true);
    assert.deepEqual(
      first.reads.map((kv) => kv?.value ?? null),
      [null, 'old'],
    );
    const second = await kv.txn({ ...txn, deletes: [] }, never);
    assert.equal(second.succeeded, false);
    assert.deepEqual(
      second.reads.map((kv) => [kv?.value, kv?.modRevision]),
      [
        ['b', first.revision],
        ['new', first.revision],
      ],
    );
    assert.equal(second.revision, first.revision);
  });

  it('is guarded by the lease and by the revision of a key', async () => {
    const { lease } = await kv.grant(60_000, never);
    const revision = await putAll(kv, { 'g/a': '1' }, lease);
    const attempt = async (guard: Parameters<Kv['txn']>[0]['guards'][number]) =>
      (await kv.txn({ guards: [guard], puts: [], deletes: ['g/none'], reads: [] }, never)).succeeded;
    assert.equal(await attempt({ key: 'g/a', lease }), true);
    assert.equal(await attempt({ key: 'g/a', lease: '12345' }), false);
    assert.equal(await attempt({ key: 'g/missing', lease }), false);
    assert.equal(await attempt({ key: 'g/missing', lease: '0' }), true);
    assert.equal(await attempt({ key: 'g/a', modRevision: revision }), true);
    assert.equal(await attempt({ key: 'g/a', modRevision: '0' }), false);
  });

  it('rejects a put on a lease that is gone, and writes none of it', async () => {
    const puts = [
      { key: 'l/a', value: '1', lease: '0' },
      { key: 'l/b', value: '1', lease: '12345' },
    ];
    await assert.rejects(kv.txn({ guards: [], puts, deletes: [], reads: [] }, never), LeaseNotFoundError);
    assert.deepEqual((await kv.range({ prefix: 'l/' }, never)).kvs, []);
  });
});
