import assert from 'node:assert/strict';
import { constants, createServer } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import { systemClock } from '../../../src/lib/clock.ts';
import { type Channel, openChannel } from '../../../src/store/etcd/channel.ts';
import { attemptLimitMs } from '../../../src/store/etcd/dial.ts';
import { RANGE, WATCH, WatchRequest } from '../../../src/store/etcd/rpc.ts';
import {
  type FakeCall,
  type Impostor,
  startFakeGrpc,
  startSilentServer,
  startTcpProxy,
} from '../../support/etcd-impostors.ts';
import { never } from '../../support/etcd-kv.ts';
import { freePorts } from '../../support/etcd-ports.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { timed, until } from '../../support/machine-time.ts';

describe('a channel to one endpoint', () => {
  let server: EtcdServer;
  const opened: (Channel | Impostor)[] = [];
  before(async () => {
    server = await startEtcd();
  });
  afterEach(async () => {
    for (const each of opened.splice(0)) await each.close();
  });
  after(() => server.dispose());

  const kept = <T extends Channel | Impostor>(each: T): T => {
    opened.unshift(each);
    return each;
  };
  const open = (url: string, connectTimeoutMs = 2_500) => kept(openChannel(url, null, systemClock, connectTimeoutMs));
  const request = RANGE.request.encode({ key: 'a' });
  const ask = (channel: Channel, signal = never) => channel.call(RANGE, request, {}, signal);

  it('makes no connection before the first call, and one for all of them', async () => {
    const proxy = kept(await startTcpProxy(server.clientUrl));
    const channel = open(proxy.url);
    assert.equal(proxy.connections(), 0);
    await Promise.all(Array.from({ length: 100 }, () => ask(channel)));
    await ask(channel);
    assert.equal(proxy.connections(), 1);
  });

  it('keeps its connection when calls are given up, before and while they are answered', async () => {
    const proxy = kept(await startTcpProxy(server.clientUrl));
    const channel = open(proxy.url);
    await ask(channel);
    for (let n = 0; n < 50; n += 1) {
      const controller = new AbortController();
      const reason = new Error('enough');
      const calls = Array.from({ length: 4 }, () => ask(channel, controller.signal));
      if (n % 2 === 0) await Promise.race(calls);
      controller.abort(reason);
      for (const call of await Promise.allSettled(calls))
        if (call.status === 'rejected') assert.equal(call.reason, reason);
    }
    await ask(channel);
    assert.equal(proxy.connections(), 1);
  });

  it('hands on what the server refuses, with its code and words', async () => {
    const fake = kept(await startFakeGrpc((call) => call.end(11, 'required revision, “compacted”')));
    await assert.rejects(ask(open(fake.url)), {
      name: 'RpcError',
      code: 11,
      message: 'required revision, “compacted”',
      sent: true,
    });
  });

  it('says at once that nothing listens, and connects soon after something does', async () => {
    const [port = 0] = await freePorts(1);
    const channel = open(`http://127.0.0.1:${port}`);
    const refused = { name: 'RpcError', code: 14, sent: false, message: /ECONNREFUSED/ };
    await assert.rejects(ask(channel), refused);
    await assert.rejects(ask(channel), refused);
    kept(await startTcpProxy(server.clientUrl, port));
    await until('an answer', 5_000, async () => Boolean(await ask(channel)));
  });

  it('gives up on a server that accepts and says nothing, and tries again', async () => {
    const silent = kept(await startSilentServer());
    const channel = open(silent.url, 300);
    const [error, tookMs] = await timed(ask(channel).catch((error) => error));
    assert.match(String(error.cause), /connected, but it does not answer/);
    assert.equal(error.sent, false);
    assert.ok(tookMs < 2_000, `${tookMs} ms`);
  });

  it('waits for a connection longer, the longer nothing has come: at most a third of that, and 20 s', () => {
    const limits = [0, 6_000, 9_000, 45_000, 3_600_000].map((silentMs) => attemptLimitMs(2_500, silentMs));
    assert.deepEqual(limits, [2_500, 2_500, 3_000, 15_000, 20_000]);
  });

  it('makes fewer attempts at a server that has been silent for long', async () => {
    let nowMs = 0;
    const limits: number[] = [];
    const sleep: typeof systemClock.sleep = (delayMs, signal) => {
      limits.push(delayMs);
      return systemClock.sleep(50, signal);
    };
    const silent = kept(await startSilentServer());
    const channel = kept(openChannel(silent.url, null, { ...systemClock, monotonicMs: () => nowMs, sleep }, 2_500));
    const untilLimit = (limitMs: number) =>
      until(`an attempt of ${limitMs} ms`, 5_000, async () => {
        await ask(channel).catch(() => {});
        return limits.at(-1) === limitMs;
      });
    await untilLimit(2_500);
    nowMs = 45_000;
    await untilLimit(15_000);
  });

  it('finds within 10 s that its connection is dead, under an idle stream and under calls, and makes another', async () => {
    const proxy = kept(await startTcpProxy(server.clientUrl));
    const [watching, calling] = [open(proxy.url), open(proxy.url)];
    const watch = WatchRequest.encode({ createRequest: { key: 'a' } });
    const stream = watching.stream(WATCH, [watch], {}, never);
    await stream.next();
    await ask(calling);
    proxy.freeze();
    const broken = timed(assert.rejects(stream.next(), { name: 'RpcError', code: 14 }));
    const again = until('an answer', 10_000, async () => Boolean(await ask(calling, AbortSignal.timeout(1_000))));
    assert.ok((await broken)[1] < 10_000);
    assert.ok((await again) < 10_000);
    assert.equal((await watching.stream(WATCH, [watch], {}, never).next()).done, false);
    assert.equal(proxy.connections(), 4);
  });

  it('pings where nothing else comes, and not where answers do', async () => {
    const answer = (call: FakeCall) => {
      call.send(Buffer.alloc(0));
      if (call.path !== WATCH) call.end(0);
    };
    const [idle, busy] = [kept(await startFakeGrpc(answer)), kept(await startFakeGrpc(answer))];
    const channels = [idle, busy].map(({ url }) => open(url));
    for (const channel of channels) await channel.stream(WATCH, [Buffer.alloc(0)], {}, never).next();
    await until('a ping where nothing comes', 20_000, async () => {
      await Promise.all(channels.slice(1).map((channel) => ask(channel)));
      return idle.pings() > 0;
    });
    assert.equal(busy.pings(), 0);
  });

  it('connects to an endpoint that fails for a minute after the last call, and no longer', async (t) => {
    let connections = 0;
    const failing = createTcpServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => failing.listen(0, '127.0.0.1', resolve));
    t.after(() => failing.close());
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
    /** What is sent and comes meanwhile takes turns of the event loop, and no time. */
    const pass = async (seconds: number) => {
      for (let step = 0; step < seconds * 4; step += 1) {
        t.mock.timers.tick(250);
        for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const channel = open(`http://127.0.0.1:${(failing.address() as AddressInfo).port}`);
    const asked = assert.rejects(ask(channel), { name: 'RpcError' });
    await pass(30);
    await asked;
    const first = connections;
    await pass(25);
    assert.ok(connections > first, `${connections} connections after 55 s, ${first} after 30 s`);
    await pass(10);
    const all = connections;
    await pass(60);
    assert.equal(connections, all);
  });

  it('has one answer for each message of a conversation, and ends one that answers unasked or late', async () => {
    const fake = kept(
      await startFakeGrpc((call) => {
        call.send(call.message);
        call.onMessage((message) => {
          if (message.toString() === 'late') return;
          call.send(message);
          if (message.toString() === 'c') call.send(Buffer.from('unasked'));
        });
      }),
    );
    const conversation = open(fake.url).converse('/any/Method', {});
    const asked = ['a', 'b', 'c'].map((text) => async () => (await conversation.ask(Buffer.from(text))).toString());
    assert.equal(conversation.state, 'free');
    for (const [index, ask] of asked.entries()) assert.equal(await ask(), ['a', 'b', 'c'][index]);
    await until('it has ended', 5_000, () => conversation.state === 'ended');
    await assert.rejects(conversation.ask(Buffer.from('d')), { name: 'RpcError', message: 'the stream has ended' });
    const givenUp = open(fake.url).converse('/any/Method', {});
    await givenUp.ask(Buffer.from('a'));
    const leaving = new AbortController();
    const late = assert.rejects(givenUp.ask(Buffer.from('late'), leaving.signal), /enough/);
    leaving.abort(new Error('enough'));
    await late;
    assert.equal(givenUp.state, 'ended');
  });

  it('writes nothing itself when an overloaded server hangs up on its pings', async (t) => {
    const written = t.mock.method(console, 'error', () => {});
    const http2 = createServer();
    http2.on('session', (session) => {
      session.on('stream', () => session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from('too_many_pings')));
    });
    await new Promise<void>((resolve) => http2.listen(0, '127.0.0.1', resolve));
    t.after(() => http2.close());
    const channel = open(`http://127.0.0.1:${(http2.address() as AddressInfo).port}`);
    await assert.rejects(ask(channel), { name: 'RpcError' });
    assert.equal(written.mock.callCount(), 0);
  });

  it('ends its calls when it is closed', async () => {
    const silent = kept(await startSilentServer());
    const channel = open(silent.url);
    const call = assert.rejects(ask(channel), { name: 'RpcError' });
    channel.close();
    await call;
  });
});
