import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { AUTHENTICATE, LEASE_KEEP_ALIVE } from '../../../src/store/etcd/rpc.ts';
import type { Kv } from '../../../src/store/kv.ts';
import { type FakeCall, type Impostor, startFakeGrpc } from '../../support/etcd-impostors.ts';
import { closeTestKvs, never, openTestKv } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd, startEtcdProxy } from '../../support/etcd-server.ts';
import { describeOnEtcds } from '../../support/etcd-versions.ts';
import { timed, until } from '../../support/machine-time.ts';

const LEASE = '77';
const OTHER = '78';
const TTL = '30';

/** What a fake etcd is asked on one stream, and what it says; null: nothing. */
interface SeenStream {
  readonly asked: string[];
  isOpen: boolean;
  readonly token: string | undefined;
  end(): void;
}

/** Leases that exist are answered with their TTL, others with `none`. */
interface Fake extends Impostor {
  readonly streams: SeenStream[];
  /** Instead of the answer that etcd would give: another TTL, null for none, or any bytes. */
  answer: (lease: string, stream: SeenStream) => string | Buffer | null | undefined;
  readonly openStreams: () => SeenStream[];
}

describe('renewing leases', () => {
  const opened: Impostor[] = [];
  afterEach(async () => {
    await closeTestKvs();
    for (const each of opened.splice(0)) await each.close();
  });

  async function startFake(none = '0'): Promise<Fake> {
    const streams: SeenStream[] = [];
    let tokens = 0;
    const onCall = (call: FakeCall) => {
      if (call.path === AUTHENTICATE.path) {
        tokens += 1;
        call.send(AUTHENTICATE.response.encode({ token: `token ${tokens}` }));
        call.end(0);
        return;
      }
      if (call.path !== LEASE_KEEP_ALIVE.path) return call.end(16, 'etcdserver: invalid auth token');
      const token = call.headers['token'];
      const stream: SeenStream = {
        asked: [],
        isOpen: true,
        token: token === undefined ? undefined : String(token),
        end: () => call.end(14, 'the server stops'),
      };
      streams.push(stream);
      const take = (message: Buffer) => {
        const { id } = LEASE_KEEP_ALIVE.request.decode(message);
        stream.asked.push(id);
        const said = fake.answer(id, stream);
        const ttl = said === undefined ? ([LEASE, OTHER].includes(id) ? TTL : none) : said;
        if (ttl === null) return;
        call.send(typeof ttl === 'string' ? LEASE_KEEP_ALIVE.response.encode({ id, ttl }) : ttl);
      };
      call.onMessage(take);
      call.onClose(() => {
        stream.isOpen = false;
      });
      take(call.message);
    };
    const server = await startFakeGrpc(onCall);
    opened.push(server);
    const fake: Fake = {
      ...server,
      streams,
      answer: () => undefined,
      openStreams: () => streams.filter(({ isOpen }) => isOpen),
    };
    return fake;
  }

  const isQuestion = (id: string | undefined) => id !== LEASE && id !== OTHER;

  /** Sends heartbeats until one comes by a stream that stays open. */
  async function withStream(fake: Fake, kv: Kv, before?: SeenStream): Promise<SeenStream> {
    const kept = () =>
      fake.openStreams().find((stream) => stream !== before && isQuestion(stream.asked[0]) && stream.asked.length > 1);
    await until('a heartbeat comes by an open stream', 5_000, async () => {
      assert.equal(await kv.keepAlive(LEASE, never), true);
      return kept() !== undefined;
    });
    await until('the other streams are closed', 5_000, () => fake.openStreams().length === 1);
    return kept() ?? assert.fail('it is closed');
  }

  it('ends a stream whose first answer is junk, and opens another', async () => {
    const fake = await startFake();
    fake.answer = (_, stream) =>
      isQuestion(stream.asked[0]) && fake.streams.length === 2 ? Buffer.of(0x0a) : undefined;
    await withStream(fake, openTestKv([fake.url]));
  });

  it('sends heartbeats by one stream that stays open', async () => {
    const fake = await startFake();
    const kv = openTestKv([fake.url]);
    const stream = await withStream(fake, kv);
    const begun = fake.streams.length;
    for (let n = 0; n < 20; n += 1) assert.equal(await kv.keepAlive(LEASE, never), true);
    assert.equal(fake.streams.length, begun, 'no other was begun');
    assert.deepEqual(fake.openStreams(), [stream]);
    await kv.close();
    await until('it ends with the store', 5_000, () => fake.openStreams().length === 0);
  });

  it('opens none for a single renewal', async () => {
    const fake = await startFake();
    assert.equal(await openTestKv([fake.url]).renew(LEASE, never), 30_000);
    await until('its stream is closed', 5_000, () => fake.openStreams().length === 0);
    assert.equal(fake.streams.length, 1);
  });

  it('sends each heartbeat by a stream of its own where a grpc-proxy answers', async () => {
    const fake = await startFake('-1');
    const kv = openTestKv([fake.url]);
    assert.equal(await kv.keepAlive(LEASE, never), true);
    await until(
      'it has answered as a proxy',
      5_000,
      () => fake.streams.length === 2 && fake.openStreams().length === 0,
    );
    for (let n = 0; n < 5; n += 1) assert.equal(await kv.keepAlive(LEASE, never), true);
    assert.equal(fake.streams.length, 7, 'the proxy was asked once');
    const carried = fake.streams.filter(({ asked }) => asked.includes(LEASE));
    assert.ok(carried.every(({ asked }) => asked.length === 1));
  });

  it('sends no heartbeat by a stream that has not been answered yet, and keeps no more than one', async () => {
    const fake = await startFake();
    fake.answer = (lease) => (lease === LEASE ? undefined : null);
    const kv = openTestKv([fake.url]);
    for (let n = 0; n < 5; n += 1) assert.equal(await kv.keepAlive(LEASE, never), true);
    await until('one is left', 5_000, () => fake.openStreams().length === 1);
    assert.ok(fake.streams.every(({ asked }) => asked.length === 1));
  });

  it('ends the stream whose answer is late, and has another one after the next heartbeat', async () => {
    const fake = await startFake();
    const kv = openTestKv([fake.url], {}, { requestTimeoutMs: 300 });
    const stream = await withStream(fake, kv);
    fake.answer = (_, on) => (on === stream ? null : undefined);
    const [error, tookMs] = await timed(kv.keepAlive(LEASE, never).catch((error) => error));
    assert.match(String(error), /no answer within \d+ ms/);
    assert.ok(tookMs < 2_000, `${tookMs} ms`);
    await until('the silent one is closed', 5_000, () => !stream.isOpen);
    assert.notEqual(await withStream(fake, kv), stream);
  });

  it('ends the stream when its heartbeat is given up', async () => {
    const fake = await startFake();
    const kv = openTestKv([fake.url]);
    const stream = await withStream(fake, kv);
    fake.answer = (_, on) => (on === stream ? null : undefined);
    const asked = stream.asked.length;
    const leaving = new AbortController();
    const heartbeat = kv.keepAlive(LEASE, leaving.signal);
    await until('it has arrived', 5_000, () => stream.asked.length > asked);
    leaving.abort(new Error('leaving'));
    await assert.rejects(heartbeat, /leaving/);
    await until('the stream is closed', 5_000, () => !stream.isOpen);
  });

  it('begins another after the server has ended it, and no heartbeat fails', async () => {
    const fake = await startFake();
    const kv = openTestKv([fake.url]);
    const stream = await withStream(fake, kv);
    stream.end();
    await until('it has ended', 5_000, () => !stream.isOpen);
    await kv.renew(OTHER, never); // what came before on the connection has been heard
    assert.notEqual(await withStream(fake, kv), stream);
  });

  it('believes that a lease is gone only of an answer to a stream of its own', async () => {
    const fake = await startFake();
    const kv = openTestKv([fake.url]);
    const stream = await withStream(fake, kv);
    fake.answer = (_, on) => (on === stream ? '0' : undefined);
    assert.equal(await kv.keepAlive(LEASE, never), true);
    fake.answer = () => '0';
    assert.equal(await kv.keepAlive(LEASE, never), false);
  });

  it('waits for one answer at a time: another lease renewed meanwhile has a stream of its own', async () => {
    const fake = await startFake();
    const kv = openTestKv([fake.url]);
    const stream = await withStream(fake, kv);
    fake.answer = (_, on) => (on === stream ? null : undefined);
    const asked = stream.asked.length;
    const leaving = new AbortController();
    const heartbeat = kv.keepAlive(LEASE, leaving.signal);
    await until('it has arrived', 5_000, () => stream.asked.length > asked);
    assert.equal(await kv.keepAlive(OTHER, never), true);
    assert.equal(stream.isOpen, true);
    leaving.abort(new Error('over'));
    await assert.rejects(heartbeat, /over/);
  });

  it('follows the heartbeats to another endpoint, and leaves none behind', async () => {
    const [first, second] = [await startFake(), await startFake()];
    const kv = openTestKv([first.url, second.url], {}, { requestTimeoutMs: 600 });
    const stream = await withStream(first, kv);
    first.answer = () => null;
    const next = await withStream(second, kv);
    assert.equal(next.isOpen, true);
    await until('the first is closed', 5_000, () => !stream.isOpen && first.openStreams().length === 0);
  });

  it('begins anew with a new token', async () => {
    const fake = await startFake();
    const kv = openTestKv([fake.url], { credentials: { user: 'node', password: 'secret' } });
    const stream = await withStream(fake, kv);
    assert.equal(stream.token, 'token 1');
    await assert.rejects(kv.count('x', never), { name: 'StoreError' }); // the token is refused, and the next one too
    assert.notEqual((await withStream(fake, kv, stream)).token, 'token 1');
    assert.equal(stream.isOpen, false);
  });
});

describeOnEtcds('heartbeats', (version) => {
  let server: EtcdServer;
  before(async () => {
    server = await startEtcd({ version });
  });
  after(async () => {
    await closeTestKvs();
    await server.dispose();
  });

  it('share a stream: etcd says 0 of a lease that does not exist', async () => {
    const kv = openTestKv(server.endpoints);
    const { lease } = await kv.grant(60_000, never);
    const streams = async () => {
      const metrics = await (await fetch(`${server.metricsUrl}/metrics`)).text();
      return Number(/^grpc_server_started_total\{.*"LeaseKeepAlive".*\} (\d+)$/m.exec(metrics)?.[1]);
    };
    await until('heartbeats begin no more streams', 20_000, async () => {
      const before = await streams();
      for (let n = 0; n < 10; n += 1) assert.equal(await kv.keepAlive(lease, never), true);
      return before > 0 && (await streams()) === before;
    });
    assert.equal(await kv.keepAlive('12345', never), false);
    assert.equal(await kv.keepAlive(lease, never), true);
  });
});

describeOnEtcds(
  'heartbeats through a proxy',
  (version) => {
    it('are answered at once, each of them', async (t) => {
      const server = await startEtcd({ version });
      t.after(() => server.dispose());
      const proxy = await startEtcdProxy(server.clientUrl);
      t.after(() => proxy.dispose());
      const kv = openTestKv([proxy.url]);
      t.after(() => kv.close());
      const grants = await Promise.all(Array.from({ length: 4 }, () => kv.grant(60_000, never)));
      // Each takes up to half a second, so that the answer for a lease that does not exist has come meanwhile. Several in
      // turn: the proxy answers late as well while the last stream for the same lease is still being closed.
      for (const { lease } of [...grants, ...grants, ...grants]) {
        const [alive, tookMs] = await timed(kv.keepAlive(lease, never, 5_000));
        assert.equal(alive, true);
        assert.ok(tookMs < 3_000, `${tookMs} ms`);
      }
    });
  },
  ['3.5.16'],
);
