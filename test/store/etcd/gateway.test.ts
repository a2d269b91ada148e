import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { ETCD_LIMITED, startEtcdWithAuth } from '../../support/etcd-auth.ts';
import { startFakeGateway, startTcpProxy } from '../../support/etcd-impostors.ts';
import { closeTestKvs, collect, never, openTestKv, putAll } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';

const tick = () => new Promise((resolve) => setImmediate(resolve));

describe('authentication at etcd', () => {
  let server: EtcdServer;
  before(async () => {
    server = await startEtcdWithAuth();
  });
  afterEach(closeTestKvs);
  after(() => server.dispose());

  it('lets a user read, write and watch below the prefix', async () => {
    const kv = openTestKv(server.endpoints, { credentials: ETCD_LIMITED });
    const revision = await putAll(kv, { a: '1' });
    assert.equal((await kv.range({ prefix: '' }, never)).kvs.length, 1);
    const { lease } = await kv.grant(30_000, never);
    assert.equal(await kv.keepAlive(lease, never), true);
    await kv.releaseEmpty(lease, never);
    assert.deepEqual(await collect(kv, revision, ({ length }) => length === 1), [{ revision, events: [] }]);
  });

  it('lets such a user ask which store it is, and what is left of leases', async () => {
    const kv = openTestKv(server.endpoints, { credentials: ETCD_LIMITED });
    assert.match(await kv.id(never), /^[0-9a-f]+\/rollcall$/);
    const { lease } = await kv.grant(60_000, never);
    assert.equal((await kv.remaining([lease], never))[0]?.grantedMs, 60_000);
  });

  it('is sent over gRPC, too, and renewed there', async () => {
    const proxy = await startTcpProxy(server.clientUrl);
    const kv = openTestKv([proxy.url], { credentials: ETCD_LIMITED });
    await putAll(kv, { a: '1' });
    const { http1 } = { ...proxy.connections() };
    for (const round of ['first', 'second']) {
      assert.equal((await kv.range({ prefix: '' }, never)).kvs.length, 1, round);
      await server.etcdctl('auth', 'disable');
      await server.etcdctl('auth', 'enable');
    }
    const other = openTestKv([proxy.url], { credentials: ETCD_LIMITED, prefix: '/other' });
    await assert.rejects(
      other.range({ prefix: '' }, never),
      /permission denied for user "node" on keys below \/other\//,
    );
    assert.equal(proxy.connections().http2, 2);
    assert.ok(proxy.connections().http1 <= http1 + 2, 'nothing but tokens came over HTTP/1.1');
    await proxy.close();
  });

  it('fails with a wrong password in words that do not hold it', async () => {
    const kv = openTestKv(server.endpoints, { credentials: { user: 'node', password: 'wrong-secret' } });
    await assert.rejects(kv.range({ prefix: '' }, never), {
      name: 'StoreError',
      message: `etcd at ${server.clientUrl}: authentication failed for user "node": check the user and password`,
      retryable: false,
    });
  });

  it('is asked for when no credentials are given', async () => {
    const kv = openTestKv(server.endpoints);
    const expected = { name: 'StoreError', message: /demands a user and password/, retryable: false };
    await assert.rejects(kv.range({ prefix: '' }, never), expected);
    await assert.rejects(
      collect(kv, '1', () => true),
      expected,
    );
  });

  it('names user and prefix where the permission is missing', async () => {
    const kv = openTestKv(server.endpoints, { credentials: ETCD_LIMITED, prefix: '/other' });
    const expected = {
      name: 'StoreError',
      message: /permission denied for user "node" on keys below \/other\//,
      retryable: false,
    };
    await assert.rejects(kv.range({ prefix: '' }, never), expected);
    await assert.rejects(putAll(kv, { a: '1' }), expected);
    await assert.rejects(
      collect(kv, '1', () => true),
      expected,
    );
  });

  it('is renewed by itself when the token is no longer good, for calls and for watches', async () => {
    const kv = openTestKv(server.endpoints, { credentials: ETCD_LIMITED });
    const revision = await putAll(kv, { a: '2' });
    const invalidate = async () => {
      // Takes every token away, as the end of their life or a restart of the member does.
      await server.etcdctl('auth', 'disable');
      await server.etcdctl('auth', 'enable');
    };
    await invalidate();
    assert.equal((await kv.range({ prefix: '' }, never)).kvs.length, 1);
    await invalidate();
    assert.equal(await kv.keepAlive('12345', never), false);
    await invalidate();
    assert.deepEqual(await collect(kv, revision, ({ length }) => length === 1), [{ revision, events: [] }]);
  });

  it('is renewed once, by one request for all callers, and not again and again', async () => {
    const paths: string[] = [];
    const gateway = await startFakeGateway(async (request, response) => {
      paths.push(request.url ?? '');
      await tick();
      if (request.url === '/v3/auth/authenticate') response.end(`{"token":"secret-token-${paths.length}"}`);
      else
        response
          .writeHead(401)
          .end('{"error":"etcdserver: invalid auth token","code":16,"message":"etcdserver: invalid auth token"}');
    });
    const kv = openTestKv([gateway.url], { credentials: ETCD_LIMITED });
    const calls = await Promise.allSettled(Array.from({ length: 5 }, () => kv.range({ prefix: '' }, never)));
    for (const call of calls) {
      assert.equal(call.status, 'rejected');
      assert.match(call.reason.message, /refused a new token of user "node"/);
      assert.doesNotMatch(call.reason.message, /secret/);
    }
    assert.equal(paths.filter((path) => path === '/v3/kv/range').length, 10);
    const logins = paths.filter((path) => path === '/v3/auth/authenticate').length;
    assert.ok(logins >= 2 && logins <= 6, `${logins} logins`);
    assert.equal(paths[1], '/v3/kv/range', 'one login before the first calls');
    await gateway.close();
  });

  it('is no obstacle where etcd does not ask for it', async () => {
    const open = await startEtcd();
    const kv = openTestKv(open.endpoints, { credentials: ETCD_LIMITED });
    await kv.range({ prefix: '' }, never);
    await open.dispose();
  });
});
