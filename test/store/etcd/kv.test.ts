import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { systemClock } from '../../../src/lib/clock.ts';
import { CompactedError, LeaseNotFoundError } from '../../../src/store/errors.ts';
import type { Kv, RangeEntry } from '../../../src/store/kv.ts';
import { createRollStore } from '../../../src/store/open-store.ts';
import { startFakeGateway, startFakeHttp2, startSilentServer, startTcpProxy } from '../../support/etcd-impostors.ts';
import { closeTestKvs, collect, never, openTestKv, putAll } from '../../support/etcd-kv.ts';
import { freePorts } from '../../support/etcd-ports.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { sampleRecord } from '../../support/sample-record.ts';

describe('leases', () => {
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
});

describe('range', () => {
  describe('a range of etcd', () => {
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
      const foreign = Buffer.concat([Buffer.from('/rollcall/f/a'), Buffer.of(0xc0)]).toString('base64');
      await fetch(`${server.clientUrl}/v3/kv/put`, { method: 'POST', body: JSON.stringify({ key: foreign }) });
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

    it('is bounded against an endless answer, down to a single key', async () => {
      const limits: string[] = [];
      const gateway = await startFakeGateway((request, response) => {
        request.once('data', (body) => limits.push(JSON.parse(String(body)).limit));
        response.on('close', () => response.destroy());
        const flood = () => {
          while (!response.destroyed && response.write('x'.repeat(1_000_000)));
        };
        response.on('drain', flood);
        flood();
      });
      const flooded = openTestKv([gateway.url], {}, { requestTimeoutMs: 10_000 });
      await assert.rejects(flooded.range({ prefix: '' }, never), {
        name: 'StoreError',
        message: /the answer is larger than 16777216 bytes/,
      });
      assert.equal(limits.at(-1), '1');
      await gateway.close();
    });

    it('is the same over gRPC as over the gateway', async () => {
      const { lease } = await kv.grant(600_000, never);
      await putAll(kv, { 's/a': 'ä', 's/b': '', 's/c': 'x'.repeat(300) }, lease);
      await putAll(kv, { 's/d': 'on no lease' });
      const overGateway = await kv.range({ prefix: 's/', limit: 5_000 }, never);
      assert.deepEqual(await kv.range({ prefix: 's/' }, never), overGateway);
      const past = { prefix: 's/', revision: String(BigInt(overGateway.revision) - 1n) };
      assert.deepEqual(await kv.range(past, never), await kv.range({ ...past, limit: 5_000 }, never));
      const part = { prefix: 's/', from: 's/b', to: 's/d' };
      assert.deepEqual(await kv.range(part, never), await kv.range({ ...part, limit: 5_000 }, never));
    });
  });

  describe('a large range', () => {
    let server: EtcdServer;
    const closing: (() => Promise<void>)[] = [];
    before(async () => {
      server = await startEtcd();
      await putAll(openTestKv(server.endpoints), { a: '1' });
    });
    afterEach(async () => {
      await closeTestKvs();
      for (const close of closing.splice(0)) await close();
    });
    after(() => server.dispose());

    const closed = <T extends { close(): Promise<void> }>(impostor: T): T => {
      closing.push(() => impostor.close());
      return impostor;
    };
    const keysOf = async (kv: Kv) => (await kv.range({ prefix: '' }, never)).kvs.map(({ key }) => key);

    it('takes one connection over HTTP/2, and small rolls none', async () => {
      const proxy = closed(await startTcpProxy(server.clientUrl));
      const kv = openTestKv([proxy.url], { prefix: '/small' });
      assert.deepEqual((await createRollStore(kv).read(never)).entries, []);
      await kv.range({ prefix: '', limit: 10 }, never);
      const { http1, http2 } = { ...proxy.connections() };
      assert.equal(http2, 0);
      await Promise.all([1, 2, 3, 4].map(() => kv.range({ prefix: '' }, never)));
      assert.deepEqual(proxy.connections(), { http1, http2: 1 });
    });

    it('falls back to the gateway where something in between speaks HTTP/1.1 only, stays there and tries again later', async () => {
      const http1Only = closed(await startFakeGateway((_, response) => response.end('{}')));
      const proxy = closed(await startTcpProxy(server.clientUrl, http1Only.url));
      let aheadMs = 0;
      const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
      const kv = openTestKv([proxy.url], {}, { clock });
      for (let n = 0; n < 3; n += 1) {
        assert.deepEqual(await keysOf(kv), ['a']);
        aheadMs += 200_000;
      }
      assert.equal(proxy.connections().http2, 1);
      aheadMs += 1;
      assert.deepEqual(await keysOf(kv), ['a']);
      assert.equal(proxy.connections().http2, 2);
    });

    it('falls back where something that is no etcd speaks HTTP/2', async () => {
      for (const headers of [{ ':status': 404 }, { ':status': 200, 'grpc-status': '12' }]) {
        const other = closed(
          await startFakeHttp2((_, response) => {
            response.stream.respond(headers);
            response.stream.end('<html>');
          }),
        );
        const proxy = closed(await startTcpProxy(server.clientUrl, other.url));
        assert.deepEqual(await keysOf(openTestKv([proxy.url])), ['a']);
      }
    });

    it('does not take what etcd refuses over gRPC to the gateway', async () => {
      const refusing = closed(
        await startFakeHttp2((_, response) => {
          response
            .writeHead(200, { 'grpc-status': '11', 'grpc-message': 'required revision has been compacted' })
            .end();
        }),
      );
      const proxy = closed(await startTcpProxy(server.clientUrl, refusing.url));
      await assert.rejects(keysOf(openTestKv([proxy.url])), CompactedError);
      assert.equal(proxy.connections().http1, 0);
    });

    it('uses the gateway after gRPC was silent for the whole deadline', async () => {
      const silent = closed(await startSilentServer());
      const proxy = closed(await startTcpProxy(server.clientUrl, silent.url));
      const kv = openTestKv([proxy.url], {}, { requestTimeoutMs: 2_000 });
      await assert.rejects(keysOf(kv), { name: 'StoreError', retryable: true, message: /no answer within 2000 ms/ });
      assert.deepEqual(await keysOf(kv), ['a']);
    });

    it('fails as any other call where nothing listens, and takes gRPC once something does', async () => {
      const [port = 0] = await freePorts(1);
      const url = `http://127.0.0.1:${port}`;
      const kv = openTestKv([url]);
      const refused = { name: 'StoreError', retryable: true, message: `etcd at ${url}: connection refused` };
      await assert.rejects(keysOf(kv), refused);
      const proxy = closed(await startTcpProxy(server.clientUrl, server.clientUrl, port));
      assert.deepEqual(await keysOf(kv), ['a']);
      assert.deepEqual(proxy.connections(), { http1: 0, http2: 1 });
    });
  });
});

describe('store id', () => {
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
});

describe('txn', () => {
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
});
