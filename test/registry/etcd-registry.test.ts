import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { encodeRecord } from '../../src/record/codec.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { type EventBatch, SlowReaderError } from '../../src/registry/event-source.ts';
import type { WatchDown } from '../../src/registry/follower.ts';
import { createRegistry, type Registry } from '../../src/registry/registry.ts';
import { WATCH } from '../../src/store/etcd/rpc.ts';
import { recordKey } from '../../src/store/keys.ts';
import { openStore } from '../../src/store/open-store.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import type { Store } from '../../src/store/store.ts';
import { applyEvent } from '../support/apply-event.ts';
import { startGrpcProxy, startTcpProxy } from '../support/etcd-impostors.ts';
import { openTestKv, putAll } from '../support/etcd-kv.ts';
import { freePorts } from '../support/etcd-ports.ts';
import { type EtcdServer, startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { scaledClock } from '../support/scaled-clock.ts';

const NEVER = new AbortController().signal;
let etcd: EtcdServer;
let prefixes = 0;

before(async () => {
  etcd = await startEtcd();
});
after(() => etcd.dispose());

/** A registry over `endpoint`, and a store without anything in between to write with; each test has keys of its own. */
async function setUp(t: TestContext, endpoint = etcd.clientUrl) {
  prefixes += 1;
  const prefix = `/t${prefixes}`;
  const open = (url: string) =>
    openStore(
      { kind: 'etcd', label: 'etcd://test', endpoints: [url], prefix, tls: null, credentials: null },
      { clock: systemClock, random: Math.random, signal: NEVER, create: false },
    );
  const [store, writer] = await Promise.all([open(endpoint), open(etcd.clientUrl)]);
  const openRegistry = () => {
    // A read waits for a busy machine: none of these tests is about its limit.
    const registry = createRegistry({ store, clock: systemClock, random: Math.random, readTimeoutMs: 60_000 });
    t.after(() => registry.close());
    return registry;
  };
  const registry = openRegistry();
  t.after(() => Promise.all([store.close(), writer.close()]));
  return { prefix, writer, registry, openRegistry };
}

async function register(store: Store, n: number) {
  const instanceId = sampleInstanceId(n);
  const registration = {
    instanceId,
    session: `s-${n}`,
    since: '2026-01-01T00:00:00.000Z',
    ttlMs: 30_000,
    retentionMs: 86_400_000,
  };
  const record = sampleRecord({ ec2InstanceId: instanceId });
  const outcome = await store.register(registration, record, { takeover: true, signal: NEVER });
  assert.ok(outcome.kind === 'registered');
  const { hold, revision } = outcome;
  const update = async (cluster: string) => {
    const written = await store.update(hold, { ...record, cluster }, NEVER);
    assert.ok(written.kind === 'written');
    return written.revision;
  };
  return { revision, update };
}

/** A consumer that reads until it is stopped. */
async function consume(t: TestContext, registry: Registry, since: string | null = null) {
  const controller = new AbortController();
  t.after(() => controller.abort());
  const events = await registry.events({ since, signal: controller.signal });
  const batches: EventBatch[] = [];
  let roll: Map<string, RollEntry> = new Map();
  const run = async () => {
    for await (const batch of events) {
      batches.push(batch);
      roll = batch.events.reduce(applyEvent, roll);
    }
  };
  const ended = run().catch((error: unknown) => error);
  const received = () => batches.flatMap((batch) => batch.events);
  return {
    ended,
    batches,
    received,
    kinds: () => received().map(({ kind }) => kind),
    cursor: () => batches.findLast((batch) => batch.cursor !== null)?.cursor ?? '0',
    roll: () => [...roll.values()],
  };
}

/** The consumer knows what the store has. */
async function agrees(consumer: Awaited<ReturnType<typeof consume>>, store: Store): Promise<void> {
  const { entries } = await store.read(NEVER);
  await until(
    'the consumer has the roll',
    60_000,
    () => JSON.stringify(sorted(consumer.roll())) === JSON.stringify(entries),
  );
}

function sorted(entries: readonly RollEntry[]): readonly RollEntry[] {
  return entries.toSorted((a, b) => (a.record.ec2InstanceId < b.record.ec2InstanceId ? -1 : 1));
}

test('a cut connection costs readers neither an event nor a snapshot', async (t) => {
  const [port = 0] = await freePorts(1);
  const proxy = await startTcpProxy(etcd.clientUrl, port);
  t.after(() => proxy.close());
  const { writer, registry } = await setUp(t, proxy.url);
  const consumer = await consume(t, registry);
  await register(writer, 1);
  await until('the reader has the first registration', 60_000, () => consumer.kinds().length === 2);
  await proxy.close();
  const { update } = await register(writer, 2);
  await update('other');
  const again = await startTcpProxy(etcd.clientUrl, port);
  t.after(() => again.close());
  await agrees(consumer, writer);
  assert.deepEqual(consumer.kinds(), ['synced', 'registered', 'registered', 'updated']);
  assert.ok(registry.status().watchRestarts >= 1);
});

test('after a compaction behind a cut connection readers get a new snapshot and synced', async (t) => {
  const [port = 0] = await freePorts(1);
  const proxy = await startTcpProxy(etcd.clientUrl, port);
  t.after(() => proxy.close());
  const { writer, registry } = await setUp(t, proxy.url);
  const { update } = await register(writer, 1);
  const consumer = await consume(t, registry);
  await until('the snapshot is complete', 60_000, () => consumer.kinds().includes('synced'));
  await proxy.close();
  await register(writer, 2);
  await etcd.etcdctl('compact', await update('other'));
  const again = await startTcpProxy(etcd.clientUrl, port);
  t.after(() => again.close());
  await agrees(consumer, writer);
  assert.equal(consumer.kinds().filter((kind) => kind === 'synced').length, 2);
});

test('an older revision is resumed exactly, and with a snapshot once it is compacted', async (t) => {
  const { writer, registry, openRegistry } = await setUp(t);
  const { revision, update } = await register(writer, 1);
  await update('a');
  await register(writer, 2);
  const last = await update('b');
  const consumer = await consume(t, registry, revision);
  await until('the replay is complete', 60_000, () => consumer.cursor() === last);
  assert.deepEqual(consumer.kinds(), ['updated', 'registered', 'updated']);
  await etcd.etcdctl('compact', last);
  const late = await consume(t, openRegistry(), revision);
  await until('the snapshot is complete', 60_000, () => late.kinds().includes('synced'));
  assert.deepEqual(late.kinds(), ['registered', 'registered', 'synced']);
});

test('a past with only foreign writes ends soon, without a snapshot', async (t) => {
  const { writer, registry } = await setUp(t);
  const { revision } = await register(writer, 1);
  await etcd.etcdctl('put', '/others', '1');
  const consumer = await consume(t, registry, revision);
  await until('the cursor moves on', 60_000, () => BigInt(consumer.cursor()) > BigInt(revision));
  assert.deepEqual(consumer.kinds(), []);
  await register(writer, 2);
  await until('the reader has what we wrote', 60_000, () => consumer.kinds().length > 0);
  assert.deepEqual(consumer.kinds(), ['registered']);
});

test('after a restore from a backup every reader gets a new snapshot and synced', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-backup-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const { writer, registry } = await setUp(t);
  await register(writer, 1);
  await etcd.etcdctl('snapshot', 'save', join(folder, 'backup.db'));
  await register(writer, 2);
  await register(writer, 3);
  const consumer = await consume(t, registry);
  await until('the snapshot is complete', 60_000, () => consumer.kinds().includes('synced'));
  const quiet = await consume(t, registry, consumer.cursor());
  await etcd.restore(join(folder, 'backup.db'));
  await Promise.all([agrees(consumer, writer), agrees(quiet, writer)]);
  assert.notEqual(quiet.batches[0]?.cursor, null, 'a cursor says that the snapshot is one in mid-stream');
  assert.equal(consumer.roll().length, 1);
  assert.equal(consumer.kinds().at(-1), 'synced');
  await assert.rejects(registry.events({ since: '1000000', signal: NEVER }), /resume after revision 1000000/);
});

test('a thousand readers share one watch of etcd, and each gets every event', async (t) => {
  const { writer, registry } = await setUp(t);
  const before = await etcd.metric('etcd_debugging_mvcc_watcher_total');
  const consumers = await Promise.all(Array.from({ length: 1_000 }, () => consume(t, registry)));
  for (let n = 0; n < 20; n += 1) await register(writer, n);
  await until('all readers got all events', 60_000, () => consumers.every(({ received }) => received().length === 21));
  assert.equal((await etcd.metric('etcd_debugging_mvcc_watcher_total')) - before, 1);
  assert.equal(registry.status().eventReaders, 1_000);
});

test('a reader that does not read is cut off, and the others continue', async (t) => {
  const { prefix, writer, registry } = await setUp(t);
  const kv = openTestKv([etcd.clientUrl], { prefix });
  t.after(() => kv.close());
  const putRecords = (cluster: string) => {
    const records = Array.from({ length: 100 }, (_, n) =>
      sampleRecord({ ec2InstanceId: sampleInstanceId(n), cluster }),
    );
    return putAll(kv, Object.fromEntries(records.map((each) => [recordKey(each.ec2InstanceId), encodeRecord(each)])));
  };
  await putRecords('first');
  const slow = (await registry.events({ since: null, signal: NEVER }))[Symbol.asyncIterator]();
  await slow.next();
  const quick = await consume(t, registry);
  for (let round = 0; round < 43; round += 1) await putRecords(`c${round}`);
  await agrees(quick, writer);
  await assert.rejects(async () => {
    for (let isEnd = false; !isEnd; ) isEnd = (await slow.next()).done === true;
  }, SlowReaderError);
  assert.equal(quick.received().length, 44 * 100 + 1);
});

test('a watch that is down for longer than 15 s is reported once, with the reason, and once when it is up again', async (t) => {
  const proxy = await startGrpcProxy(etcd.clientUrl);
  t.after(() => proxy.close());
  const clock = scaledClock(3);
  const kv = openTestKv([proxy.url], { prefix: '/down' }, { clock, requestTimeoutMs: 7_500 });
  const store = createRollStore(kv);
  const writer = createRollStore(openTestKv(etcd.endpoints, { prefix: '/down' }));
  t.after(() => Promise.all([store.close(), writer.close()]));
  const told: (WatchDown | null)[] = [];
  const registry = createRegistry({
    store,
    clock,
    random: Math.random,
    readTimeoutMs: 600_000,
    onWatch: (down) => told.push(down),
  });
  t.after(() => registry.close());
  await registry.read(NEVER);
  assert.equal(registry.status().watchDownMs, null);

  proxy.buffer(WATCH);
  const startMs = clock.monotonicMs();
  await register(writer, 1);
  await until('it is reported as down', 60_000, () => told.length > 0);
  assert.ok(clock.monotonicMs() - startMs > 10_000, 'it was confirmed up to 5 s before');
  const [down] = told;
  assert.ok(down && down.downMs > 15_000);
  assert.match(String(down.error), /the watch fell silent|no answer within/);
  assert.ok((registry.status().watchDownMs ?? 0) > 15_000);
  assert.equal((await registry.read(NEVER)).stale, true);

  proxy.buffer(null);
  await until('it is reported as up', 60_000, () => told.length > 1);
  assert.deepEqual(told.slice(1), [null]);
  assert.equal(registry.status().watchDownMs, null);
  await until('the roll is up to date', 60_000, async () => (await registry.read(NEVER)).roll.entries.length === 1);
});
