import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openSse } from '../http/sse-reader.ts';
import { type EtcdCluster, startEtcdCluster } from '../support/etcd-cluster.ts';
import { startTcpProxy } from '../support/etcd-impostors.ts';
import { freePorts } from '../support/etcd-ports.ts';
import { startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { startRollcall } from '../support/rollcall-process.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { agree, type Consumer, consumer, jsonLines, LIMIT_MS, startOutside } from './consumers.ts';
import { openSampleWriter } from './sample-writer.ts';
import { brief } from './told-roll.ts';

const [A, B, C] = [1, 2, 3].map(sampleInstanceId) as [string, string, string];

/** An etcd that its readers reach through a connection that can be cut; writers reach it directly. */
async function cuttable(t: TestContext) {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const [port = 0] = await freePorts(1);
  let proxy = await startTcpProxy(etcd.clientUrl, port);
  t.after(() => proxy.close());
  return {
    etcd,
    store: proxy.url.replace('http', 'etcd'),
    writer: await openSampleWriter(t, etcd.endpoints),
    cut: () => proxy.close(),
    async mend() {
      proxy = await startTcpProxy(etcd.clientUrl, port);
    },
  };
}

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'rollcall-faults-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** What came after the first snapshot, which the readers here all begin with. */
function afterSnapshot(events: ReturnType<Consumer['events']>): string[] {
  return events.slice(events.findIndex((event) => event.type === 'rollcall.roll.synced') + 1).map(brief);
}

/** No event came twice. */
function assertOnce({ name, events }: Consumer) {
  assert.equal(new Set(events().map(({ id }) => id)).size, events().length, `${name}: told twice`);
}

test('a connection cut during many changes loses no event and repeats none', async (t) => {
  const { store, writer, cut, mend } = await cuttable(t);
  const a = await writer.register(1);
  const { consumers } = await startOutside(t, store);
  await cut();
  const b = await writer.register(2);
  await writer.update(b, { cluster: 'other' });
  await writer.depart(a);
  await mend();
  await agree(consumers, writer);
  for (const each of consumers) {
    assert.deepEqual(afterSnapshot(each.events()), [`registered ${B}`, `updated ${B}`, `departed ${A}`], each.name);
    assertOnce(each);
  }
});

test('events compacted during a cut connection are covered by a new snapshot without the nodes that are gone', async (t) => {
  const { etcd, store, writer, cut, mend } = await cuttable(t);
  await writer.register(1);
  const b = await writer.register(2);
  const { consumers } = await startOutside(t, store);
  await cut();
  await writer.register(3);
  await etcd.etcdctl('del', '--prefix', `/rollcall/v1/records/${A}`);
  await etcd.etcdctl('del', '--prefix', `/rollcall/v1/presence/${A}`);
  await etcd.etcdctl('compact', await writer.update(b, { cluster: 'other' }));
  await mend();
  await agree(consumers, writer);
  for (const { name, count, roll } of consumers) {
    assert.equal(count('rollcall.roll.synced'), 2, name);
    assert.ok(!roll().has(A) && roll().has(C), name);
  }
});

test('a paused watch whose events overflow the connection and are compacted gets a new snapshot', async (t) => {
  const { etcd, store, writer } = await cuttable(t);
  const padding = 'x'.repeat(1_000);
  const labels = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`label-${n}`, padding]));
  const node = await writer.register(1, { labels });
  const { watch, consumers } = await startOutside(t, store);
  watch.child.kill('SIGSTOP');
  let last = '';
  for (let count = 1; count <= 1_000; count += 1) {
    last = await writer.update(node, { labels: { ...labels, count: `${count}` } });
  }
  await etcd.etcdctl('compact', last);
  await writer.register(2);
  watch.child.kill('SIGCONT');
  await agree(consumers, writer);
  const [stopped, other] = consumers;
  assert.equal(stopped?.count('rollcall.roll.synced'), 2);
  assert.equal(other?.count('rollcall.roll.synced'), 1, 'a consumer that was not stopped got everything');
  assert.equal(other?.count('rollcall.instance.updated'), 1_000);
});

test('a consumer that returns after a compaction with an older cursor starts with a snapshot and synced', async (t) => {
  const { etcd, store, writer } = await cuttable(t);
  const cursor = join(await folder(t), 'cursor');
  const a = await writer.register(1);
  await writer.register(2);
  const { agentUrl: url } = await startOutside(t, store);
  const args = ['watch', '--store', store, '--cursor', cursor];
  const first = startRollcall(t, args);
  await until('the snapshot is printed', LIMIT_MS, () => first.stdout().includes('rollcall.roll.synced'));
  first.child.kill('SIGTERM');
  await first.ended;
  const revision = await writer.depart(a);
  await writer.register(3);
  const second = startRollcall(t, args);
  await until('it went on', LIMIT_MS, () => jsonLines(second.stdout()).length === 2);
  const resumed = jsonLines(second.stdout()).map((line) => brief(JSON.parse(line)));
  assert.deepEqual(resumed, [`departed ${A}`, `registered ${C}`]);
  second.child.kill('SIGTERM');
  await second.ended;

  const last = await writer.update(await writer.register(2), { cluster: 'other' });
  await etcd.etcdctl('compact', last);
  const third = startRollcall(t, args);
  // A reader that comes back to an agent whose registry began after that: one that was started again.
  const { agentUrl: other } = await startOutside(t, store);
  const stream = await openSse(t, `${other}/v1/events`, { 'Last-Event-ID': revision });
  const consumers = [
    consumer('watch', () => jsonLines(third.stdout())),
    consumer(url, () => stream.told().map(({ data }) => data)),
  ];
  await agree(consumers, writer);
  for (const { name, count } of consumers) assert.equal(count('rollcall.roll.synced'), 1, name);
});

test('a restored backup that has reached the old revisions again gives a new snapshot', async (t) => {
  const { etcd, store, writer, cut, mend } = await cuttable(t);
  const backup = join(await folder(t), 'backup.db');
  const a = await writer.register(1);
  // Before the backup is made: what the agent writes would be gone with it.
  const { consumers } = await startOutside(t, store);
  await etcd.etcdctl('snapshot', 'save', backup);
  await writer.update(a, { cluster: 'before' });
  const b = await writer.register(2);
  await writer.update(b, { cluster: 'before' });
  const seen = await writer.register(3);
  await agree(consumers, writer);
  const told = BigInt(consumers[0]?.events().at(-1)?.revision ?? 0);
  await cut();
  await etcd.restore(backup);
  let revision = 0n;
  for (let count = 0; revision <= told + 5n; count += 1) {
    revision = BigInt(await writer.update(await writer.register(4), { cluster: `c${count}` }));
  }
  await mend();
  await agree(consumers, writer);
  for (const { name, roll, count } of consumers) {
    assert.equal(count('rollcall.roll.synced'), 2, name);
    assert.ok(!roll().has(B) && !roll().has(seen.record.ec2InstanceId), name);
    assert.equal(roll().get(A)?.cluster, 'demo', name);
  }
});

test('a backup restored under open connections gives a new snapshot', async (t) => {
  const { etcd, store, writer } = await cuttable(t);
  const backup = join(await folder(t), 'backup.db');
  await writer.register(1);
  const { consumers } = await startOutside(t, store);
  await etcd.etcdctl('snapshot', 'save', backup);
  await writer.register(2);
  await agree(consumers, writer);
  await etcd.restore(backup);
  await agree(consumers, writer);
  for (const { name, roll } of consumers) assert.ok(!roll().has(B), name);
  await writer.register(3);
  await agree(consumers, writer);
  for (const { name, count, events } of consumers) {
    assert.equal(count('rollcall.roll.synced'), 2, name);
    const last = events().at(-1);
    assert.equal(last && brief(last), `registered ${C}`, name);
  }
});

test('a watch that ends during the snapshot of a restored backup starts with a snapshot again, not after its old cursor', async (t) => {
  const { etcd, store, writer } = await cuttable(t);
  const dir = await folder(t);
  const read = (name: string) => readFile(join(dir, name), 'utf8').catch(() => '');
  const handler = join(dir, 'handler');
  // Is in the middle of its event for as long as there is a file to wait for.
  const wait = 'while [ -e "$OUT/wait" ]; do sleep 0.1; done';
  await writeFile(
    handler,
    `#!/bin/sh\necho "$ROLLCALL_EVENT_TYPE $ROLLCALL_EVENT_INSTANCE_ID" >>"$OUT/told"\n${wait}\n`,
  );
  await chmod(handler, 0o755);
  const args = ['watch', '--store', store, '--cursor', join(dir, 'cursor'), '--exec', handler];
  await writer.register(1);
  await etcd.etcdctl('snapshot', 'save', join(dir, 'backup.db'));
  const first = startRollcall(t, args, { OUT: dir });
  await until('the snapshot is handled', LIMIT_MS, async () => (await read('told')).includes('synced'));
  const b = await writer.register(2);
  const old = await writer.update(b, { cluster: 'before' });
  await until('its cursor is saved', LIMIT_MS, async () => (await read('cursor')).includes(`"${old}"`));
  const before = await read('told');
  await writeFile(join(dir, 'wait'), '');
  await etcd.restore(join(dir, 'backup.db'));
  await until('the new snapshot is being handled', LIMIT_MS, async () => (await read('told')).length > before.length);
  await until('there is nothing to go on from', LIMIT_MS, async () => (await read('cursor')).includes('null'));
  first.child.kill('SIGKILL');
  await first.ended;
  for (let revision = 0n; revision <= BigInt(old); ) {
    revision = BigInt(await writer.update(await writer.register(3), { cluster: `c${revision}` }));
  }
  await rm(join(dir, 'wait'));
  const begun = (await read('told')).length;
  startRollcall(t, args, { OUT: dir });
  await until('it has begun', LIMIT_MS, async () => (await read('told')).slice(begun).includes('synced'));
  assert.match((await read('told')).slice(begun), new RegExp(`registered ${A}\\n`));
});

test('while the members of a cluster are killed in turn, no consumer misses an event', async (t) => {
  const cluster = await startEtcdCluster(3);
  t.after(() => cluster.dispose());
  const writer = await openSampleWriter(t, cluster.endpoints);
  const { consumers } = await startOutside(t, storeUrl(cluster));
  const nodes: string[] = [];
  for (const member of cluster.members) {
    await member.stop();
    await cluster.leader();
    nodes.push(await registerPatiently(writer, nodes.length + 1));
    await agree(consumers, writer);
    await member.restart();
    nodes.push(await registerPatiently(writer, nodes.length + 1));
    await agree(consumers, writer);
  }
  for (const each of consumers) {
    assert.deepEqual(
      afterSnapshot(each.events()),
      nodes.map((id) => `registered ${id}`),
      each.name,
    );
    assertOnce(each);
  }
});

test('if the watched member hangs, its readers continue at another one without a gap', async (t) => {
  const cluster = await startEtcdCluster(3);
  t.after(() => cluster.dispose());
  const writer = await openSampleWriter(t, cluster.endpoints);
  const { consumers } = await startOutside(t, storeUrl(cluster));
  const watchers = await Promise.all(
    cluster.members.map((member) => member.metric('etcd_debugging_mvcc_watcher_total')),
  );
  const hung = cluster.members[watchers.findIndex((count) => count > 0)];
  assert.ok(hung, 'some member is watched');
  process.kill(hung.pid, 'SIGSTOP');
  try {
    await registerPatiently(writer, 1);
    await agree(consumers, writer);
  } finally {
    process.kill(hung.pid, 'SIGCONT');
  }
  await registerPatiently(writer, 2);
  await agree(consumers, writer);
  for (const each of consumers) {
    assert.deepEqual(afterSnapshot(each.events()), [`registered ${A}`, `registered ${B}`], each.name);
    assertOnce(each);
  }
});

function storeUrl({ endpoints }: EtcdCluster): string {
  return `etcd://${endpoints.map((url) => new URL(url).host).join(',')}`;
}

/** While there is no leader, a write fails; sent again it does no harm. Answers the id. */
async function registerPatiently(writer: Awaited<ReturnType<typeof openSampleWriter>>, n: number): Promise<string> {
  await until(`node ${n} is registered`, LIMIT_MS, async () => (await writer.register(n)) !== null);
  return sampleInstanceId(n);
}
