import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { after, afterEach, before, it, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel } from '../../../src/store/etcd/channel.ts';
import { RANGE, WATCH, WatchResponse } from '../../../src/store/etcd/rpc.ts';
import type { Kv, KvBatch } from '../../../src/store/kv.ts';
import { CompactedError } from '../../../src/store/store-errors.ts';
import { startEtcdCluster } from '../../support/etcd-cluster.ts';
import { type FakeCall, startFakeGrpc, startGrpcProxy, startTcpProxy } from '../../support/etcd-impostors.ts';
import { assertConfirms, closeTestKvs, collect, never, openTestKv, putAll, putBytes } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { describeOnEtcds } from '../../support/etcd-versions.ts';
import { timed, until } from '../../support/machine-time.ts';
import { scaledClock } from '../../support/scaled-clock.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const keysOf = (batches: readonly KvBatch[]) => batches.flatMap(({ events }) => events.map(({ key }) => key));
const changes = (batches: readonly KvBatch[]) => batches.filter(({ events }) => events.length > 0);

function answerRange(call: FakeCall, revision: string): void {
  call.send(RANGE.response.encode({ header: { revision } }));
  call.end(0);
}

const WATCHERS = 'etcd_debugging_mvcc_watcher_total';

describeOnEtcds('a watch', (version) => {
  let server: EtcdServer;
  let kv: Kv;
  before(async () => {
    server = await startEtcd({ version });
  });
  afterEach(closeTestKvs);
  after(() => server.dispose());

  const open = () => {
    // A busy machine may take seconds for what prepares a test.
    kv = openTestKv(server.endpoints, {}, { requestTimeoutMs: 30_000 });
    return kv;
  };

  it('ends as soon as a call has left its endpoint, which hangs, for another that answers', async () => {
    const proxy = await startTcpProxy(server.clientUrl);
    const moving = openTestKv([proxy.url, server.clientUrl]);
    const revision = await putAll(moving, { a: '1' });
    const { lease } = await moving.grant(60_000, never);
    const ends = [moving.watchKeys(['a'], revision, never), moving.watch(revision, never)].map(async (watch) => {
      for await (const _ of watch);
    });
    const ended = Promise.allSettled(ends);
    await until('both watches are there', 10_000, async () => (await server.metric(WATCHERS)) >= 2);
    proxy.freeze();
    const [moved, movedMs] = await timed(moving.keepAlive(lease, never, 1_000));
    assert.ok(moved && movedMs < 2_000, `${movedMs} ms`);
    // An unanswered ping would tell after 9 s.
    const [results, tookMs] = await timed(ended);
    assert.ok(tookMs < 1_000, `${tookMs} ms`);
    for (const result of results) {
      assert.equal(result.status, 'rejected');
      assert.deepEqual([result.reason.name, result.reason.retryable], ['StoreError', true]);
      assert.match(result.reason.message, new RegExp(`^etcd at ${proxy.url}: a call went to another endpoint$`));
    }
    await proxy.close();
  });

  it('brings each revision whole and in order, with what was there before', async () => {
    const start = await putAll(open(), { 'a/1': 'one' });
    const second = await putAll(kv, { 'a/1': 'uno', 'a/2': 'two' });
    await server.etcdctl('put', '/foreign', 'x');
    const { revision: third } = await kv.txn({ guards: [], puts: [], deletes: ['a/1', 'a/2'], reads: [] }, never);
    assert.deepEqual(await collect(kv, start, (batches) => changes(batches).length === 2).then(changes), [
      {
        revision: second,
        events: [
          { key: 'a/1', value: 'uno', previous: 'one' },
          { key: 'a/2', value: 'two', previous: null },
        ],
      },
      {
        revision: third,
        events: [
          { key: 'a/1', value: null, previous: 'uno' },
          { key: 'a/2', value: null, previous: 'two' },
        ],
      },
    ]);
  });

  it('brings a revision whole that etcd splits because of its size', async () => {
    const { lease } = await open().grant(60_000, never);
    const value = 'x'.repeat(100_000);
    const names = Array.from({ length: 60 }, (_, index) => `big/${String(index).padStart(2, '0')}`);
    let revision = '';
    for (let at = 0; at < names.length; at += 10) {
      revision = await putAll(kv, Object.fromEntries(names.slice(at, at + 10).map((name) => [name, value])), lease);
    }
    await server.etcdctl('lease', 'revoke', BigInt(lease).toString(16));
    const [batch, ...rest] = changes(await collect(kv, revision, (batches) => changes(batches).length > 0));
    assert.equal(rest.length, 0);
    assert.deepEqual(batch?.events.map(({ key }) => key).sort(), names);
    assert.ok(batch?.events.every((event) => event.value === null && event.previous === value));
  });

  it('misses nothing and repeats nothing while etcd crashes and the caller resumes', async () => {
    const start = await putAll(open(), { 'r/start': '1' });
    const got: KvBatch[] = [];
    let failures = 0;
    const reader = (async () => {
      for (let revision = start; keysOf(got).at(-1) !== 'r/29'; ) {
        try {
          for await (const batch of kv.watch(revision, AbortSignal.timeout(30_000))) {
            got.push(batch);
            revision = batch.revision;
            if (keysOf(got).at(-1) === 'r/29') break;
          }
        } catch (error) {
          assert.equal((error as { retryable?: boolean }).retryable, true, String(error));
          failures += 1;
          await sleep(10);
        }
      }
    })();
    for (let index = 0; index < 30; index += 1) {
      await putAll(kv, { [`r/${String(index).padStart(2, '0')}`]: 'v' });
      if (index !== 10 && index !== 20) continue;
      await server.restart();
      await until('it is connected again', 10_000, async () => Boolean(await kv.range({ prefix: '' }, never)));
    }
    await reader;
    assert.ok(failures >= 2);
    assert.deepEqual(
      keysOf(got),
      Array.from({ length: 30 }, (_, index) => `r/${String(index).padStart(2, '0')}`),
    );
  });

  it('says when the changes after its revision were compacted', async () => {
    const start = await putAll(open(), { 'c/1': '1' });
    await putAll(kv, { 'c/1': '2' });
    await server.etcdctl('compact', await putAll(kv, { 'c/1': '3' }));
    await assert.rejects(
      collect(kv, start, () => false),
      CompactedError,
    );
  });

  // Seen with a real one, of a reader that is slow: what is compacted before etcd sends the change is left out.
  it('says when a compaction overtakes it, and what its changes replaced is gone', async () => {
    const header = { revision: '6' };
    const deleted = { type: '1', kv: { key: '/rollcall/a', modRevision: '6' } };
    const fake = await startFakeGrpc((call) => {
      if (call.path !== WATCH) return answerRange(call, '6');
      call.send(WatchResponse.encode({ header: { revision: '5' }, created: true }));
      call.send(WatchResponse.encode({ header, events: [deleted] }));
    });
    await assert.rejects(
      collect(openTestKv([fake.url]), '5', (batches) => changes(batches).length > 0),
      { name: 'CompactedError', message: /what the changes after revision 5 replaced is compacted$/ },
    );
    await fake.close();
  });

  it('says when the store is behind its revision, as after a restore from a backup', async () => {
    await assert.rejects(
      collect(open(), '999999', () => false),
      { name: 'CompactedError', message: /the store's revision went back/ },
    );
  });

  it('says when the store was restored from a backup and has its revision again with other changes behind it', async () => {
    const other = await startEtcd({ version });
    const backup = join(other.dataDir, '..', `${basename(other.dataDir)}.backup`);
    try {
      const ours = openTestKv(other.endpoints);
      await putAll(ours, { 'v1/a': 'old', 'v1/b': 'old' });
      await other.etcdctl('snapshot', 'save', backup);
      const overtake = async (past: string) => {
        await other.restore(backup);
        // Another process writes: this one has seen nothing of the restored store before it watches again.
        for (let revision = '0'; BigInt(revision) <= BigInt(past) + 2n; ) {
          const answer = JSON.parse(await other.etcdctl('put', '/rollcall/v1/c', 'new', '-w', 'json'));
          revision = String(answer.header.revision);
        }
      };
      const replaced = { name: 'CompactedError', message: /the store was replaced, as by a restore from a backup/ };

      await putAll(ours, { 'v1/a': 'newer' });
      const { revision: read } = await ours.range({ prefix: 'v1/', limit: 100 }, never);
      await overtake(read);
      await assert.rejects(
        collect(ours, read, () => false),
        replaced,
        'after a snapshot',
      );

      const again = await ours.range({ prefix: 'v1/' }, never);
      assertConfirms((await collect(ours, again.revision, ({ length }) => length === 1))[0], again.revision);
      await putAll(openTestKv(other.endpoints), { 'v1/a': 'newest' });
      const [batch] = changes(await collect(ours, again.revision, (batches) => changes(batches).length > 0));
      await overtake(batch?.revision ?? '');
      await assert.rejects(
        collect(ours, batch?.revision ?? '', () => false),
        replaced,
        'after a batch',
      );
    } finally {
      await other.dispose();
      await rm(backup, { force: true });
    }
  });

  it('goes on without an objection after keys were deleted, overwritten or are no text', async () => {
    const mine = openTestKv(server.endpoints, { prefix: '/resumed' });
    const foreign = Buffer.concat([Buffer.from('/resumed/z'), Buffer.of(0xc0)]);
    await putAll(mine, { a: '1', b: '2' });
    let { revision } = await mine.range({ prefix: '' }, never);
    const putForeign = () => putBytes(server.clientUrl, foreign);
    for (const change of [
      () => mine.txn({ guards: [], puts: [], deletes: ['a'], reads: [] }, never),
      () => putAll(mine, { b: '3' }),
      putForeign,
      () => mine.txn({ guards: [], puts: [{ key: 'c', value: '', lease: '0' }], deletes: ['b'], reads: [] }, never),
    ]) {
      await change();
      const [batch, ...rest] = changes(await collect(mine, revision, (batches) => changes(batches).length > 0));
      assert.ok(batch && rest.length === 0);
      revision = batch.revision;
      await putAll(open(), { 'elsewhere/x': revision });
    }
    await putForeign();
    const read = await mine.range({ prefix: '' }, never);
    assert.equal(read.kvs.length, 2);
    await collect(mine, read.revision, ({ length }) => length === 1);
  });

  it('is confirmed at once and again and again where nothing changes, at the revision of its last event', async () => {
    const clock = scaledClock(20);
    const idle = openTestKv(server.endpoints, {}, { clock, requestTimeoutMs: 50_000 });
    const revision = await putAll(idle, { 'i/1': '1' });
    const startMs = clock.monotonicMs();
    const batches = await collect(idle, revision, ({ length }) => length === 4);
    for (const batch of batches) assertConfirms(batch, revision);
    assert.ok(clock.monotonicMs() - startMs > 15_000);
  });

  it('is confirmed while others write to the store, and keeps the revision from which it can be resumed', async () => {
    const clock = scaledClock(10);
    const idle = openTestKv(server.endpoints, {}, { clock, requestTimeoutMs: 25_000 });
    const others = openTestKv(server.endpoints, { prefix: '/elsewhere' });
    const revision = await putAll(idle, { 'o/1': '1' });
    let batches = 0;
    const atMs: number[] = [];
    for await (const batch of idle.watch(revision, AbortSignal.timeout(20_000))) {
      assertConfirms(batch, revision);
      atMs.push(clock.monotonicMs());
      batches += 1;
      if (batches === 4) break;
      await putAll(others, { a: String(batches) });
    }
    const gapsMs = atMs.slice(1).map((ms, index) => ms - (atMs[index] ?? 0));
    assert.ok(Math.max(...gapsMs) < 10_000, String(gapsMs));
  });

  it('is confirmed, with its age, while changes never pause and its stream brings them late', async () => {
    const proxy = await startGrpcProxy(server.clientUrl);
    const clock = scaledClock(10);
    const late = openTestKv([proxy.url], {}, { clock, requestTimeoutMs: 100_000 });
    const direct = open();
    const revision = await putAll(direct, { 'l/1': '0' });
    // By the watch's clock 1 s.
    proxy.delay(WATCH, 100);
    const ending = new AbortController();
    const written: { readonly revision: bigint; readonly atMs: number }[] = [];
    // So many that some come while a check is under way.
    const write = async (_: unknown, writer: number) => {
      for (let n = 1; !ending.signal.aborted; n += 1) {
        const revision = BigInt(await putAll(direct, { [`l/${writer}`]: String(n) }));
        written.push({ revision, atMs: clock.monotonicMs() });
      }
    };
    const writing = Promise.all(Array.from({ length: 16 }, write));
    const confirm = async () => {
      let aged = 0;
      for await (const batch of watching) {
        if (batch.confirmedMsAgo === undefined) continue;
        const upToMs = clock.monotonicMs() - batch.confirmedMsAgo;
        const missing = written.filter(({ revision, atMs }) => atMs < upToMs && revision > BigInt(batch.revision));
        assert.deepEqual(missing, []);
        // Not all: a disk that stalls the writers lets the stream catch up.
        if (batch.confirmedMsAgo > 500) aged += 1;
        if (aged === 2) break;
      }
      return aged;
    };
    const watching = late.watch(revision, AbortSignal.timeout(120_000));
    const [confirmed, tookMs] = await timed(confirm()).finally(() => ending.abort());
    await writing;
    await proxy.close();
    assert.equal(confirmed, 2);
    assert.ok(tookMs < 6_000, `${tookMs} ms`);
  });

  it('is not confirmed and given up when changes exist that its stream does not bring', async () => {
    const proxy = await startGrpcProxy(server.clientUrl);
    const cut = openTestKv([proxy.url], {}, { clock: scaledClock(10), requestTimeoutMs: 25_000 });
    const direct = open();
    for (const change of [
      () => putAll(direct, { 'f/1': 'changed' }),
      () => direct.txn({ guards: [], puts: [], deletes: ['f/1'], reads: [] }, never),
    ]) {
      const revision = await putAll(direct, { 'f/1': '1' });
      const got: KvBatch[] = [];
      const watching = (async () => {
        for await (const batch of cut.watch(revision, AbortSignal.timeout(20_000))) {
          got.push(batch);
          if (got.length > 1) continue;
          proxy.silence(WATCH);
          await change();
        }
      })();
      await assert.rejects(watching, { name: 'StoreError', retryable: true, message: /the watch fell silent/ });
      assert.equal(got.length, 1);
      assertConfirms(got[0], revision);
      const resumed = await collect(cut, revision, (batches) => changes(batches).length > 0);
      assert.deepEqual(keysOf(resumed), ['f/1']);
    }
    await proxy.close();
  });

  it('reads no further ahead than its consumer takes', async () => {
    const proxy = await startTcpProxy(server.clientUrl);
    const slow = openTestKv([proxy.url]);
    const direct = open();
    const start = await putAll(direct, { 's/1': '1' });
    const watch = slow.watch(start, AbortSignal.timeout(20_000))[Symbol.asyncIterator]();
    await watch.next();
    const value = 'x'.repeat(500_000);
    for (let index = 0; index < 50; index += 1) await putAll(direct, { 's/1': value + index });
    // Until what flows comes to rest. All of it would be 65 MB; sockets and buffers hold some.
    for (let before = -1; before !== proxy.forwardedBytes(); await sleep(200)) before = proxy.forwardedBytes();
    assert.ok(proxy.forwardedBytes() < 25_000_000, `${proxy.forwardedBytes()} bytes`);
    let events = 0;
    while (events < 50) events += (await watch.next()).value?.events.length ?? 0;
    await watch.return?.();
    await proxy.close();
  });

  it('ends by the reason of its signal, and frees its connection when it is left', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const revision = await putAll(open(), { 'e/1': '1' });
    const watching = (async () => {
      for await (const _ of kv.watch(revision, controller.signal)) setImmediate(() => controller.abort(reason));
    })();
    await assert.rejects(watching, reason);
    await collect(kv, revision, ({ length }) => length === 1);
    const streams = () => server.metric('etcd_debugging_mvcc_watcher_total');
    for (let tries = 0; (await streams()) > 0; tries += 1) {
      assert.ok(tries < 100, 'watchers stay behind');
      await sleep(20);
    }
  });

  it('fails with one line on junk in its stream', async () => {
    const created = WatchResponse.encode({ header: { revision: '5' }, created: true });
    const event = { kv: { key: '/elsewhere/a', modRevision: '6' } };
    const junk = [Buffer.from('<html>'), WatchResponse.encode({ events: [event] }), created.subarray(0, 3)];
    for (const answer of junk) {
      const fake = await startFakeGrpc((call) => {
        if (call.path !== WATCH) return answerRange(call, '5');
        call.send(created);
        call.send(answer);
      });
      await assert.rejects(
        collect(openTestKv([fake.url]), '5', () => false),
        { name: 'StoreError', retryable: true, message: /^etcd at [^\n]+$/ },
      );
      await fake.close();
    }
  });

  it('starts over from a snapshot where an etcd sends more in one answer than is taken', async () => {
    const created = WatchResponse.encode({ header: { revision: '5' }, created: true });
    const fake = await startFakeGrpc((call) => {
      if (call.path !== WATCH) return answerRange(call, '5');
      call.send(created);
      call.send(Buffer.alloc(17_000_000));
    });
    await assert.rejects(
      collect(openTestKv([fake.url]), '5', () => false),
      { name: 'CompactedError', message: /the changes after revision 5 is more than one answer/ },
    );
    await fake.close();
  });

  it('goes on at another member when its own is gone, and ends at a member that lost its leader', async () => {
    const cluster = await startEtcdCluster(3, { version });
    try {
      const ha = openTestKv(cluster.endpoints);
      const start = await putAll(ha, { 'h/1': '1' });
      const first = cluster.members[0];
      const got: KvBatch[] = [];
      const failing = (async () => {
        for await (const batch of ha.watch(start, AbortSignal.timeout(20_000))) {
          got.push(batch);
          if (got.length === 1) await first?.stop();
        }
      })();
      await assert.rejects(failing, { name: 'StoreError', retryable: true });
      for (let revision = ''; revision === ''; ) revision = await putAll(ha, { 'h/2': '2' }).catch(() => '');
      assert.deepEqual(keysOf(await collect(ha, start, (batches) => keysOf(batches).length > 0)), ['h/2']);

      const alone = (async () => {
        let seen = 0;
        for await (const _ of ha.watch(start, AbortSignal.timeout(20_000))) {
          seen += 1;
          if (seen === 2) await cluster.members[2]?.stop();
        }
      })();
      await assert.rejects(alone, { name: 'StoreError', retryable: true });
    } finally {
      await cluster.dispose();
    }
  });
});

test('a watch whose stream is later than what lies between two checks is confirmed all the same', async () => {
  const clock = simulatedClock();
  const LAG_MS = 5_000;
  let revision = 100;
  const header = () => ({ revision: String(revision) });
  const channel: Partial<Channel> = {
    call: async (_, message) => {
      await clock.sleep(2, never);
      const changed = Number(RANGE.request.decode(message).minModRevision ?? 0) <= revision;
      const kvs = changed ? [{ key: '/rollcall/v1/x', modRevision: String(revision), value: '' }] : [];
      return RANGE.response.encode({ header: header(), kvs, count: '1' });
    },
    stream: async function* (_path, _messages, _headers, signal) {
      yield WatchResponse.encode({ header: header(), created: true });
      await clock.sleep(LAG_MS, signal);
      for (let sent = 101; ; sent += 1) {
        const kv = { key: '/rollcall/v1/differences/x', createRevision: '1', modRevision: String(sent), value: 'v' };
        yield WatchResponse.encode({ header: { revision: String(sent) }, events: [{ type: '0', kv, prevKv: kv }] });
        await clock.sleep(100, signal);
      }
    },
    close: () => {},
  };
  const ending = new AbortController();
  const writing = (async () => {
    for (; ; revision += 1) await clock.sleep(100, ending.signal);
  })().catch(() => {});
  const kv = openTestKv(['http://127.0.0.1:1'], {}, { clock, openChannel: () => channel as Channel });
  const confirmedAtMs: number[] = [];
  const watching = (async () => {
    for await (const { confirmedMsAgo } of kv.watch('100', ending.signal)) {
      if (confirmedMsAgo !== undefined) confirmedAtMs.push(clock.monotonicMs());
    }
  })().catch(() => {});
  await clock.advance(60_000);
  ending.abort(new Error('the test ended'));
  await Promise.all([writing, watching]);
  assert.ok(confirmedAtMs.length >= 5, `${confirmedAtMs}`);
});
