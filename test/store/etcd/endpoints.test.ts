import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { type Impostor, startFakeGateway, startSilentServer } from '../../support/etcd-impostors.ts';
import { closeTestKvs, never, openTestKv } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';

/** Nothing listens there. */
const DEAD = 'http://127.0.0.1:1';

describe('several endpoints', () => {
  let server: EtcdServer;
  let silent: Impostor;
  before(async () => {
    [server, silent] = await Promise.all([startEtcd(), startSilentServer()]);
  });
  afterEach(closeTestKvs);
  after(() => Promise.all([server.dispose(), silent.close()]));

  it('are tried in turn when one is dead, and the one that works is remembered', async () => {
    const kv = openTestKv([DEAD, DEAD, server.clientUrl]);
    await kv.range({ prefix: '' }, never);
    await kv.range({ prefix: '' }, never);
  });

  it('leave time for the others when the first one hangs, and avoid it from then on', async () => {
    const kv = openTestKv([silent.url, server.clientUrl], {}, { requestTimeoutMs: 4_000 });
    const startMs = performance.now();
    await kv.range({ prefix: '' }, never);
    const firstMs = performance.now() - startMs;
    assert.ok(firstMs >= 1_980 && firstMs < 4_000, `${firstMs} ms`);
    await kv.range({ prefix: '' }, never);
    assert.ok(performance.now() - startMs - firstMs < 1_900, 'the silent one was not asked again');
  });

  it('are asked within one deadline in total, and the error names what each did', async () => {
    const kv = openTestKv([silent.url, DEAD, silent.url], {}, { requestTimeoutMs: 2_000 });
    const startMs = performance.now();
    await assert.rejects(kv.range({ prefix: '' }, never), (error: Error & { retryable?: boolean }) => {
      assert.match(
        error.message,
        new RegExp(`^etcd at ${silent.url}: no answer within \\d+ ms; etcd at ${DEAD}: conn`),
      );
      assert.equal(error.retryable, true);
      return true;
    });
    assert.ok(performance.now() - startMs < 3_900, 'each has not one of its own');
  });

  it('start at one drawn by chance', async () => {
    const kv = openTestKv(
      [silent.url, silent.url, server.clientUrl],
      {},
      { random: () => 0.99, requestTimeoutMs: 6_000 },
    );
    const startMs = performance.now();
    await kv.range({ prefix: '' }, never);
    assert.ok(performance.now() - startMs < 1_900, 'no silent one was asked before');
  });

  it('do not get a write twice when the first may have carried it out', async () => {
    const kv = openTestKv([silent.url, server.clientUrl], {}, { requestTimeoutMs: 2_000 });
    const write = () =>
      kv.txn({ guards: [], puts: [{ key: 'w', value: '1', lease: '0' }], deletes: [], reads: [] }, never);
    await assert.rejects(write(), { name: 'StoreError', retryable: true });
    assert.equal(await server.etcdctl('get', '/rollcall/w'), '');
    assert.equal((await write()).succeeded, true, 'the next call goes to the endpoint that works');
  });

  it('get a write that the first one surely has not seen', async () => {
    const kv = openTestKv([DEAD, server.clientUrl]);
    const puts = [{ key: 'v', value: '1', lease: '0' }];
    assert.equal((await kv.txn({ guards: [], puts, deletes: [], reads: [] }, never)).succeeded, true);
  });

  it('are left at once when the caller gives up', async () => {
    const kv = openTestKv([silent.url]);
    const reason = new Error('enough');
    const controller = new AbortController();
    const asked = kv.range({ prefix: '' }, controller.signal);
    setImmediate(() => controller.abort(reason));
    await assert.rejects(asked, reason);
  });

  it('are passed over while they answer junk: a page, half an answer, an error of a proxy', async () => {
    const answers: [number, string][] = [
      [200, '<html>please log in</html>'],
      [200, '{"header":{"revision":"7"'],
      [200, '{"header":{}}'],
      [200, '{"header":{"revision":"7"},"kvs":"none"}'],
      [200, '{"header":{"revision":"7"},"kvs":[{"key":7}]}'],
      [502, '<h1>Bad Gateway</h1>'],
      [503, ''],
      [503, '{"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14}'],
    ];
    for (const [status, text] of answers) {
      const gateway = await startFakeGateway((_, response) => response.writeHead(status).end(text));
      const kv = openTestKv([gateway.url, server.clientUrl]);
      await kv.range({ prefix: '' }, never);
      const alone = openTestKv([gateway.url]);
      await assert.rejects(alone.range({ prefix: '' }, never), (error: Error & { retryable?: boolean }) => {
        assert.equal(error.name, 'StoreError', text);
        assert.equal(error.retryable, true, text);
        assert.match(error.message, /^etcd at http:\/\/127\.0\.0\.1:\d+: [^\n]+$/);
        return true;
      });
      await gateway.close();
    }
  });
});
