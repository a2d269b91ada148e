import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { systemClock } from '../../../src/lib/clock.ts';
import { CompactedError } from '../../../src/store/errors.ts';
import type { Kv, RangeEntry } from '../../../src/store/kv.ts';
import { createRollStore } from '../../../src/store/open-store.ts';
import { startFakeGateway, startFakeHttp2, startSilentServer, startTcpProxy } from '../../support/etcd-impostors.ts';
import { closeTestKvs, never, openTestKv, putAll } from '../../support/etcd-kv.ts';
import { freePorts } from '../../support/etcd-ports.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';

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
        response.writeHead(200, { 'grpc-status': '11', 'grpc-message': 'required revision has been compacted' }).end();
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
