import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RANGE } from '../../../src/store/etcd/rpc.ts';
import type { Kv, RangeEntry } from '../../../src/store/kv.ts';
import { createRollStore } from '../../../src/store/roll-store.ts';
import { CompactedError, LeaseNotFoundError } from '../../../src/store/store-errors.ts';
import { startFakeGrpc } from '../../support/etcd-impostors.ts';
import { closeTestKvs, collect, never, openTestKv, putAll, putBytes } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { describeOnEtcds } from '../../support/etcd-versions.ts';
import { until } from '../../support/machine-time.ts';
import { sampleRecord } from '../../support/sample-record.ts';

/** etcd updates some of its metrics a moment after what they count. */
async function settled(read: () => Promise<number>): Promise<number> {
  for (let last = await read(); ; ) {
    await sleep(150);
    const now = await read();
    if (now === last) return now;
    last = now;
  }
}

describeOnEtcds('leases', (version) => {
  describe('a lease of etcd', () => {
    let server: EtcdServer;
    let kv: Kv;
    before(async () => {
      server = await startEtcd({ version });
      kv = openTestKv(server.endpoints);
    });
    after(async () => {
      await closeTestKvs();
      await server.dispose();
    });

    it('is granted for at least the time asked, and its TTL says for how long', async () => {
      assert.equal((await kv.grant(30_000, never)).ttlMs, 30_000);
      assert.equal((await kv.grant(30_001, never)).ttlMs, 31_000);
      const short = await kv.grant(1_000, never);
      assert.ok(short.ttlMs >= 1_500, 'etcd has a minimum');
      // Running out it would cost a Raft write, while another test counts them.
      await kv.releaseEmpty(short.lease, never);
    });

    it('can be kept alive while it is there', async () => {
      const { lease } = await kv.grant(60_000, never);
      assert.equal(await kv.keepAlive(lease, never), true);
      assert.equal(await kv.keepAlive('12345', never), false);
    });

    it('is released only when it holds no keys', async () => {
      const { lease } = await kv.grant(60_000, never);
      await putAll(kv, { 'k/a': '1' }, lease);
      assert.equal(await kv.releaseEmpty(lease, never), false);
      assert.equal(await kv.keepAlive(lease, never), true);
      await kv.txn({ guards: [], puts: [], deletes: ['k/a'], reads: [] }, never);
      assert.equal(await kv.releaseEmpty(lease, never), true);
      assert.equal(await kv.keepAlive(lease, never), false);
      assert.equal(await kv.releaseEmpty(lease, never), true, 'it is gone');
    });

    it('costs no Raft write in ten minutes of heartbeats and a watch that is confirmed', async () => {
      const { lease } = await kv.grant(30_000, never);
      const revision = await putAll(kv, { 'p/a': '1' }, lease);
      const proposals = () => settled(() => server.metric('etcd_server_proposals_committed_total'));
      // A few seconds after its start etcd writes the version of its cluster down.
      await until('the version is decided', 20_000, async () => {
        const { etcdserver, etcdcluster } = JSON.parse(await (await fetch(`${server.clientUrl}/version`)).text());
        return etcdcluster === `${etcdserver.split('.').slice(0, 2).join('.')}.0`;
      });
      const before = await proposals();
      for (let heartbeat = 0; heartbeat < 60; heartbeat += 1) assert.equal(await kv.keepAlive(lease, never), true);
      await collect(kv, revision, (batches) => batches.length > 0);
      assert.equal(await proposals(), before);
      await putAll(kv, { 'p/a': '2' }, lease);
      assert.equal(await proposals(), before + 1, 'the metric counts writes');
    });

    it('costs no Raft write when many are asked how much is left of them', async () => {
      const leases = await Promise.all(Array.from({ length: 32 }, async () => (await kv.grant(60_000, never)).lease));
      const proposals = () => settled(() => server.metric('etcd_server_proposals_committed_total'));
      const before = await proposals();
      const times = await kv.remaining(leases, never);
      assert.equal(times.filter((time) => time?.grantedMs === 60_000).length, 32);
      assert.equal(await proposals(), before);
    });

    it('costs no Raft write in heartbeats, which read no key', async () => {
      let readOnly = 0;
      const spying = Object.assign(Object.create(kv) as Kv, {
        txn: (...call: Parameters<Kv['txn']>) => {
          readOnly += call[0].puts.length === 0 ? 1 : 0;
          return kv.txn(...call);
        },
      });
      const store = createRollStore(spying);
      const record = sampleRecord();
      const registration = {
        instanceId: record.ec2InstanceId,
        session: 'a',
        since: 'x',
        ttlMs: 30_000,
        retentionMs: 60_000,
      };
      const outcome = await store.register(registration, record, { takeover: true, signal: never });
      if (outcome.kind !== 'registered') assert.fail(outcome.kind);
      const proposals = () => settled(() => server.metric('etcd_server_proposals_committed_total'));
      const before = await proposals();
      readOnly = 0;
      for (let heartbeat = 0; heartbeat < 30; heartbeat += 1) {
        assert.deepEqual(await store.renew(outcome.hold, never), { kind: 'renewed' });
      }
      assert.equal(readOnly, 0);
      assert.equal(await proposals(), before);
    });

    it('is not given up for an answer that says nothing about it', async () => {
      const empty = await startFakeGrpc((call) => {
        call.send(Buffer.alloc(0));
        call.end(0);
      });
      const fooled = openTestKv([empty.url]);
      await assert.rejects(fooled.keepAlive('77', never), { name: 'StoreError', retryable: true });
      await assert.rejects(fooled.grant(30_000, never), { name: 'StoreError', retryable: true });
      await assert.rejects(fooled.remaining(['77'], never), { name: 'StoreError', retryable: true });
      await assert.rejects(fooled.id(never), { name: 'StoreError', retryable: true });
      await empty.close();
    });
  });
});

describeOnEtcds('range', (version) => {
  describe('a range of etcd', () => {
    let server: EtcdServer;
    let kv: Kv;
    before(async () => {
      server = await startEtcd({ version });
      kv = openTestKv(server.endpoints);
    });
    after(async () => {
      await closeTestKvs();
      await server.dispose();
    });

    const all = async (prefix: string): Promise<{ pages: number; kvs: RangeEntry[] }> => {
      const kvs: RangeEntry[] = [];
      let page = await kv.range({ prefix }, never);
      for (let pages = 1; ; pages += 1) {
        kvs.push(...page.kvs);
        if (page.next === null) return { pages, kvs };
        page = await kv.range({ prefix, from: page.next, revision: page.revision }, never);
      }
    };

    it('holds the keys with the prefix in byte order, without the prefix of the store, and no others', async () => {
      await server.etcdctl('put', '/rollcallx', 'x');
      await server.etcdctl('put', '/rollcal', 'x');
      await putAll(kv, { 'o/b': '2', 'o/ä': '3', 'o/a': '', o: 'x', p: 'x' });
      const { kvs } = await all('o/');
      assert.deepEqual(
        kvs.map(({ key, value }) => [key, value]),
        [
          ['o/a', ''],
          ['o/b', '2'],
          ['o/ä', '3'],
        ],
      );
    });

    it('comes in pages, each key once', async () => {
      const keys = Array.from({ length: 11_000 }, (_, index) => `n/${String(index).padStart(6, '0')}`);
      for (let at = 0; at < keys.length; at += 100) {
        await putAll(kv, Object.fromEntries(keys.slice(at, at + 100).map((key) => [key, 'v'])));
      }
      const { pages, kvs } = await all('n/');
      assert.ok(pages > 1);
      assert.deepEqual(
        kvs.map(({ key }) => key),
        keys,
      );
    });

    it('comes in smaller pages where values are large', async () => {
      const value = 'x'.repeat(1_400_000);
      for (let index = 0; index < 12; index += 1) await putAll(kv, { [`big/${index}`]: value });
      const { pages, kvs } = await all('big/');
      assert.ok(pages > 1);
      assert.equal(new Set(kvs.map(({ key }) => key)).size, 12);
      assert.ok(kvs.every((kv) => kv.value === value));
    });

    it('gets past a foreign key that is no text at the end of a page', async () => {
      // 4,999 keys, then the foreign one as the last of its page, then one more. etcdctl takes no such key.
      const page = 5_000;
      for (let at = 0; at < page - 1; at += 100) {
        const names = Array.from(
          { length: Math.min(100, page - 1 - at) },
          (_, n) => `f/${String(at + n).padStart(6, '0')}`,
        );
        await putAll(kv, Object.fromEntries(names.map((name) => [name, 'v'])));
      }
      await putBytes(server.clientUrl, Buffer.concat([Buffer.from('/rollcall/f/a'), Buffer.of(0xc0)]));
      await putAll(kv, { 'f/aé': 'last' });
      const { pages, kvs } = await all('f/');
      assert.equal(pages, 2);
      assert.equal(kvs.length, page + 1);
      assert.equal(new Set(kvs.map(({ key }) => key)).size, page + 1);
    });

    it('reads an old revision, and says when that was compacted or lies in the future', async () => {
      const revision = await putAll(kv, { 'h/a': '1' });
      const newest = await putAll(kv, { 'h/a': '2' });
      assert.deepEqual(
        (await kv.range({ prefix: 'h/', revision }, never)).kvs.map(({ value }) => value),
        ['1'],
      );
      await server.etcdctl('compact', newest);
      await assert.rejects(kv.range({ prefix: 'h/', revision }, never), CompactedError);
      await assert.rejects(kv.range({ prefix: 'h/', revision: '999999' }, never), {
        name: 'CompactedError',
        message: /the store's revision went back/,
      });
    });

    it('is bounded against answers without end, down to a single key', async () => {
      const limits: string[] = [];
      const flood = await startFakeGrpc((call) => {
        limits.push(RANGE.request.decode(call.message).limit);
        call.send(Buffer.alloc(17_000_000));
      });
      const flooded = openTestKv([flood.url], {}, { requestTimeoutMs: 10_000 });
      await assert.rejects(flooded.range({ prefix: '' }, never), {
        name: 'StoreError',
        message: /the answer is too large/,
      });
      assert.equal(limits.at(-1), '1');
      await flood.close();
    });
  });
});

describeOnEtcds('store id', (version) => {
  describe('the id of a store on etcd', () => {
    let server: EtcdServer;
    before(async () => {
      server = await startEtcd({ version });
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
});

describeOnEtcds('txn', (version) => {
  describe('a transaction on etcd', () => {
    let server: EtcdServer;
    let kv: Kv;
    before(async () => {
      server = await startEtcd({ version });
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

    it('is guarded by the value and by the revision of a key', async () => {
      const revision = await putAll(kv, { 'g/a': '1', 'g/empty': '' });
      const attempt = async (guard: Parameters<Kv['txn']>[0]['guards'][number]) =>
        (await kv.txn({ guards: [guard], puts: [], deletes: ['g/none'], reads: [] }, never)).succeeded;
      assert.equal(await attempt({ key: 'g/a', value: '1' }), true);
      assert.equal(await attempt({ key: 'g/a', value: '12' }), false);
      assert.equal(await attempt({ key: 'g/a', value: '' }), false);
      assert.equal(await attempt({ key: 'g/empty', value: '' }), true);
      assert.equal(await attempt({ key: 'g/missing', value: '' }), false);
      assert.equal(await attempt({ key: 'g/missing', modRevision: '0' }), true);
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
});
