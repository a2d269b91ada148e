import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { KeyValue, Kv } from '../../../src/store/kv.ts';
import { CompactedError } from '../../../src/store/store-error.ts';
import { startFakeGateway } from '../../support/etcd-impostors.ts';
import { closeTestKvs, never, openTestKv, putAll } from '../../support/etcd-kv.ts';
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

  const all = async (prefix: string): Promise<{ pages: number; kvs: KeyValue[] }> => {
    const kvs: KeyValue[] = [];
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
    assert.ok(kvs.every(({ lease }) => lease === '0'));
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
});
