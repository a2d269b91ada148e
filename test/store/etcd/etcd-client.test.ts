import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { systemClock } from '../../../src/lib/clock.ts';
import { authTokens, type Endpoint } from '../../../src/store/etcd/etcd-client.ts';
import { AUTHENTICATE, LEASE_KEEP_ALIVE } from '../../../src/store/etcd/rpc.ts';
import { ETCD_LIMITED, startEtcdWithAuth } from '../../support/etcd-auth.ts';
import {
  type Impostor,
  startFakeGrpc,
  startFakeHttp1,
  startGrpcProxy,
  startSilentServer,
} from '../../support/etcd-impostors.ts';
import { assertConfirms, closeTestKvs, collect, never, openTestKv, putAll } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { describeOnEtcds } from '../../support/etcd-versions.ts';
import { timed, until } from '../../support/machine-time.ts';

describe('auth tokens', () => {
  const endpoint = { url: 'http://a' } as Endpoint;
  let nowMs = 0;
  const clock = { monotonicMs: () => nowMs };

  describe('the token of a store', () => {
    it('is fetched once for all who wait, and again only after it was refused', async () => {
      let fetched = 0;
      const tokens = authTokens(clock, async () => `token ${++fetched}`);
      assert.deepEqual(await Promise.all([tokens.get(endpoint), tokens.get(endpoint)]), ['token 1', 'token 1']);
      assert.equal(await tokens.get(endpoint), 'token 1');
      tokens.drop('token 1');
      assert.equal(await tokens.get(endpoint), 'token 2');
    });

    it('is not thrown away by a caller that was refused with an older one', async () => {
      let fetched = 0;
      const tokens = authTokens(clock, async () => `token ${++fetched}`);
      await tokens.get(endpoint);
      tokens.drop('token 1');
      await tokens.get(endpoint);
      tokens.drop('token 1');
      assert.equal(await tokens.get(endpoint), 'token 2');
    });

    it('is fetched anew after a failure, which all who waited see', async () => {
      let fetched = 0;
      const tokens = authTokens(clock, async () => {
        fetched += 1;
        if (fetched === 1) throw new Error('no');
        return 'token';
      });
      const both = await Promise.allSettled([tokens.get(endpoint), tokens.get(endpoint)]);
      assert.deepEqual(
        both.map(({ status }) => status),
        ['rejected', 'rejected'],
      );
      assert.equal(await tokens.get(endpoint), 'token');
      assert.equal(fetched, 2);
    });

    it('is thrown away for a failure that may be its fault once it is old, and not before', async () => {
      let fetched = 0;
      const tokens = authTokens(clock, async () => `token ${++fetched}`);
      await tokens.get(endpoint);
      tokens.dropIfOld('token 1');
      assert.equal(await tokens.get(endpoint), 'token 1');
      nowMs += 30_000;
      tokens.dropIfOld('token 0');
      assert.equal(await tokens.get(endpoint), 'token 1');
      tokens.dropIfOld('token 1');
      assert.equal(await tokens.get(endpoint), 'token 2');
    });

    it('does not wait at one endpoint for another that hangs', async () => {
      const other = { url: 'http://b' } as Endpoint;
      const tokens = authTokens(clock, (at) => (at === endpoint ? new Promise(() => {}) : Promise.resolve('token')));
      void tokens.get(endpoint);
      assert.equal(await tokens.get(other), 'token');
    });
  });
});

describeOnEtcds('endpoints', (version) => {
  /** Nothing listens there. */
  const DEAD = 'http://127.0.0.1:1';

  describe('several endpoints', () => {
    let server: EtcdServer;
    let silent: Impostor;
    before(async () => {
      [server, silent] = await Promise.all([startEtcd({ version }), startSilentServer()]);
    });
    afterEach(closeTestKvs);
    after(() => Promise.all([server.dispose(), silent.close()]));

    it('are tried in turn when one is dead, and the one that works is remembered', async () => {
      const kv = openTestKv([DEAD, DEAD, server.clientUrl]);
      await kv.range({ prefix: '' }, never);
      await kv.range({ prefix: '' }, never);
    });

    it('leave time for the others when the first one hangs, and avoid it from then on', async (t) => {
      let asked = 0;
      const hanging = await startFakeGrpc(() => {
        asked += 1;
      });
      t.after(() => hanging.close());
      const kv = openTestKv([hanging.url, server.clientUrl], {}, { requestTimeoutMs: 4_000 });
      const [, firstMs, firstWallMs] = await timed(kv.range({ prefix: '' }, never));
      assert.ok(firstWallMs >= 1_980 && firstMs < 4_000, `${firstMs} ms`);
      await kv.range({ prefix: '' }, never);
      assert.equal(asked, 1, 'it was not asked again');
    });

    it('are all asked within the limit of a heartbeat, where that is shorter than the deadline', async () => {
      const kv = openTestKv([silent.url, silent.url, server.clientUrl], {}, { requestTimeoutMs: 60_000 });
      const { lease } = await openTestKv([server.clientUrl]).grant(60_000, never);
      const [renewed, tookMs] = await timed(kv.keepAlive(lease, never, 1_500));
      assert.equal(renewed, true);
      assert.ok(tookMs < 20_000, `${tookMs} ms: the first had a share of the limit`);
    });

    it('have the limit of a heartbeat where that is longer than the deadline: an etcd that is slow loses no node', async () => {
      const slow = await startGrpcProxy(server.clientUrl);
      slow.delay(LEASE_KEEP_ALIVE.path, 400);
      const kv = openTestKv([slow.url], {}, { requestTimeoutMs: 200 });
      const { lease } = await openTestKv([server.clientUrl]).grant(60_000, never);
      assert.equal(await kv.keepAlive(lease, never, 30_000), true);
      await slow.close();
    });

    it('are asked within one deadline in total, and the error names what each did', async () => {
      const kv = openTestKv([silent.url, DEAD, silent.url], {}, { requestTimeoutMs: 2_000 });
      const rejected = assert.rejects(kv.range({ prefix: '' }, never), (error: Error & { retryable?: boolean }) => {
        assert.match(
          error.message,
          new RegExp(`^etcd at ${silent.url}: no answer within \\d+ ms; etcd at ${DEAD}: conn`),
        );
        assert.equal(error.retryable, true);
        return true;
      });
      const [, tookMs] = await timed(rejected);
      assert.ok(tookMs < 3_900, 'each has not one of its own');
    });

    it('start at one drawn by chance', async () => {
      const kv = openTestKv(
        [silent.url, silent.url, server.clientUrl],
        {},
        { random: () => 0.99, requestTimeoutMs: 6_000 },
      );
      const [, tookMs] = await timed(kv.range({ prefix: '' }, never));
      assert.ok(tookMs < 1_900, 'no silent one was asked before');
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

    it('are passed over while they answer junk: another gRPC server, half an answer, a page of a proxy', async () => {
      const header = Buffer.from('0a021807', 'hex');
      const impostors = await Promise.all([
        startFakeGrpc((call) => call.end(12, 'unknown service etcdserverpb.KV')),
        startFakeGrpc((call) => call.end(14, 'etcdserver: no leader')),
        startFakeGrpc((call) => call.end(0)),
        startFakeGrpc((call) => {
          call.send(header.subarray(0, 3));
          call.end(0);
        }),
        startFakeGrpc((call) => {
          call.send(Buffer.from('<html>please log in</html>'));
          call.end(0);
        }),
        startFakeHttp1((_, response) => response.writeHead(502).end('<h1>Bad Gateway</h1>')),
        startFakeHttp1((_, response) => response.end('{"header":{"revision":"7"}}')),
      ]);
      for (const impostor of impostors) {
        await openTestKv([impostor.url, server.clientUrl]).range({ prefix: '' }, never);
        const alone = openTestKv([impostor.url]);
        await assert.rejects(alone.range({ prefix: '' }, never), (error: Error & { retryable?: boolean }) => {
          assert.equal(error.name, 'StoreError');
          assert.equal(error.retryable, true);
          assert.match(error.message, /^etcd at http:\/\/127\.0\.0\.1:\d+: [^\n]+$/);
          return true;
        });
        await impostor.close();
      }
    });
  });
});

describeOnEtcds('authentication', (version) => {
  const tick = () => new Promise((resolve) => setImmediate(resolve));

  describe('authentication at etcd', () => {
    let server: EtcdServer;
    before(async () => {
      server = await startEtcdWithAuth({ version });
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
      assertConfirms((await collect(kv, revision, ({ length }) => length === 1))[0], revision);
    });

    it('lets such a user ask which store it is, and what is left of leases', async () => {
      const kv = openTestKv(server.endpoints, { credentials: ETCD_LIMITED });
      assert.match(await kv.id(never), /^[0-9a-f]+\/rollcall$/);
      const { lease } = await kv.grant(60_000, never);
      assert.equal((await kv.remaining([lease], never))[0]?.grantedMs, 60_000);
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

    it('names the user and the keys where the right is missing', async () => {
      const kv = openTestKv(server.endpoints, { credentials: ETCD_LIMITED, prefix: '/other' });
      const expected = (right: string) => ({
        name: 'StoreError',
        message:
          `etcd at ${server.clientUrl}: permission denied for user "node": it has no right to ${right}; ` +
          'give its role that right (docs/stores.md)',
        retryable: false,
      });
      await assert.rejects(kv.range({ prefix: 'v1/' }, never), expected('read /other/v1/'));
      await assert.rejects(putAll(kv, { a: '1', b: '2' }), expected('write /other/a and /other/b'));
      await assert.rejects(
        collect(kv, '1', () => true),
        expected('read /other/'),
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
      assertConfirms((await collect(kv, revision, ({ length }) => length === 1))[0], revision);
    });

    it('is renewed once, by one request for all callers, and not again and again', async () => {
      const paths: string[] = [];
      const refusing = await startFakeGrpc(async (call) => {
        paths.push(call.path);
        await tick();
        if (call.path !== AUTHENTICATE.path) return call.end(16, 'etcdserver: invalid auth token');
        call.send(AUTHENTICATE.response.encode({ token: `secret-token-${paths.length}` }));
        call.end(0);
      });
      const kv = openTestKv([refusing.url], { credentials: ETCD_LIMITED });
      const calls = await Promise.allSettled(Array.from({ length: 5 }, () => kv.range({ prefix: '' }, never)));
      for (const call of calls) {
        assert.equal(call.status, 'rejected');
        assert.match(call.reason.message, /refused a new token of user "node"/);
        assert.doesNotMatch(call.reason.message, /secret/);
      }
      assert.equal(paths.filter((path) => path === '/etcdserverpb.KV/Range').length, 10);
      const logins = paths.filter((path) => path === AUTHENTICATE.path).length;
      assert.ok(logins >= 2 && logins <= 6, `${logins} logins`);
      assert.equal(paths[1], '/etcdserverpb.KV/Range', 'one login before the first calls');
      await refusing.close();
    });

    // As etcd issues 15256 and 20332 report it.
    it('is renewed at an etcd that hangs up on an old token instead of refusing it', async (t) => {
      const proxy = await startGrpcProxy(server.clientUrl);
      t.after(() => proxy.close());
      let nowMs = 0;
      const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + nowMs };
      const kv = openTestKv([proxy.url], { credentials: ETCD_LIMITED }, { clock });
      const { lease } = await kv.grant(60_000, never);
      const tokens = new Set<unknown>();
      proxy.hangUpOn(({ token }) => {
        if (tokens.size === 0) tokens.add(token);
        return tokens.has(token);
      });
      await assert.rejects(kv.keepAlive(lease, never), { name: 'StoreError', retryable: true });
      nowMs += 60_000;
      await assert.rejects(kv.keepAlive(lease, never), { name: 'StoreError', retryable: true });
      await until('a new token', 10_000, () => kv.keepAlive(lease, never));
    });

    it('is no obstacle where etcd does not ask for it', async () => {
      const open = await startEtcd({ version });
      const kv = openTestKv(open.endpoints, { credentials: ETCD_LIMITED });
      await kv.range({ prefix: '' }, never);
      await open.dispose();
    });
  });
});
