import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Hold } from '../../src/store/store.ts';
import { openSse } from '../http/sse-reader.ts';
import { startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { startRollcall } from '../support/rollcall-process.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import type { SampleWriter } from '../support/sample-writer.ts';
import { agree, consumer, jsonLines, LIMIT_MS, startOutside } from './consumers.ts';
import { openSampleWriter } from './sample-writer.ts';
import { brief } from './told-roll.ts';

const NEVER = new AbortController().signal;
/** Losses are held back for as long as this: what must happen meanwhile has to get its turn on a busy machine. */
const HELD_TTL_MS = 8_000;
const [A, B, C] = [1, 2, 3].map(sampleInstanceId) as [string, string, string];

async function setUp(t: TestContext, presenceTtl?: string, hold = false) {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const writer = await openSampleWriter(t, etcd.endpoints);
  return { etcd, writer, ...(await startOutside(t, etcd.clientUrl.replace('http', 'etcd'), presenceTtl, hold)) };
}

test('an agent paused for longer than its TTL is lost, recovers by itself, and readers miss nothing', async (t) => {
  const { writer, agent, agentId, consumers } = await setUp(t, '2s');
  const [watch, stream] = consumers;
  agent.child.kill('SIGSTOP');
  // TTL + 1 s, and what a disk may take.
  const limitMs = 2_000 + 1_000 + 10_000;
  await until('the watch tells the loss', limitMs, () => watch?.count('rollcall.instance.lost') === 1);
  await writer.register(1);
  agent.child.kill('SIGCONT');
  await until('the watch tells its return', LIMIT_MS, () => watch?.count('rollcall.instance.recovered') === 1);
  await agree(consumers, writer);
  for (const { name, events } of [watch, stream].filter((each) => each !== undefined)) {
    const told = events().map(brief);
    const expected = [`registered* ${agentId}`, 'synced', `lost ${agentId}`, `registered ${A}`, `recovered ${agentId}`];
    assert.deepEqual(told, expected, name);
  }
  assert.equal(agent.child.exitCode, null);
});

test('a watch paused for longer than the TTL continues with the events in between', async (t) => {
  const { writer, watch, consumers } = await setUp(t);
  const a = await writer.register(1);
  await agree(consumers, writer);
  watch.child.kill('SIGSTOP');
  await writer.register(2, {}, 2_000);
  await writer.depart(a);
  const [, stream] = consumers;
  await until('the other gets the loss', LIMIT_MS, () => stream?.count('rollcall.instance.lost') === 1);
  await sleep(2_000); // longer than the TTL in any case
  watch.child.kill('SIGCONT');
  await writer.register(3);
  await agree(consumers, writer);
  const expected = [`registered ${A}`, `registered ${B}`, `departed ${A}`, `lost ${B}`, `registered ${C}`];
  for (const { name, events, count } of consumers) {
    assert.deepEqual(events().map(brief).slice(-expected.length), expected, name);
    assert.equal(count('rollcall.roll.synced'), 1, name);
  }
});

test('an etcd that hangs for longer than the TTL of all nodes gives uncertain, and no lost that is certain', async (t) => {
  const { etcd, writer, consumers, agentUrl } = await setUp(t, `${HELD_TTL_MS / 1_000}s`, true);
  const sse = await openSse(t, `${agentUrl}/v1/events`);
  const facts = consumer('the facts', () => sse.told().map(({ data }) => data));
  const nodes = 8;
  const beating = new AbortController();
  const beats = Array.from({ length: nodes }, (_, n) => keepBeating(writer, n, beating.signal));
  t.after(async () => {
    beating.abort();
    await Promise.all(beats);
  });
  for (const { name, roll } of consumers) {
    await until(`${name} knows all`, LIMIT_MS, () => roll().size === nodes + 1);
  }
  process.kill(etcd.pid, 'SIGSTOP');
  await sleep(HELD_TTL_MS + 4_000);
  process.kill(etcd.pid, 'SIGCONT');
  await until('all are back', LIMIT_MS, async () => {
    const { entries } = await writer.store.read(NEVER);
    return entries.every(({ presence }) => presence !== null);
  });
  await agree([...consumers, facts], writer);
  await until('the facts are over', LIMIT_MS, () => facts.count('rollcall.roll.certain') === 1);
  const losses = facts.events().filter(({ type }) => type === 'rollcall.instance.lost');
  assert.equal(losses.length, facts.count('rollcall.instance.recovered'));
  assert.ok(
    losses.every(({ data }) => 'uncertain' in data && data.uncertain),
    facts.events().map(brief).join(', '),
  );
  for (const { name, events, count } of consumers) {
    await until(`${name} hears that it is over`, LIMIT_MS, () => count('rollcall.roll.certain') === 1);
    const told = events().map(brief);
    assert.equal(count('rollcall.instance.lost'), 0, `${name}: ${told.join(', ')}`);
    assert.ok(told.indexOf('uncertain') < told.indexOf('certain'), `${name}: ${told.join(', ')}`);
    assert.equal(told.at(-1), 'certain', name);
  }
});

test('a watch that is killed while losses are held sends them after its restart', async (t) => {
  const { etcd, writer } = await setUp(t);
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-faults-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const nodes = Array.from({ length: 10 }, (_, n) => n);
  const store = etcd.clientUrl.replace('http', 'etcd');
  const args = ['watch', '--store', store, '--hold', 'on', '--cursor', join(dir, 'cursor')];
  const first = startRollcall(t, args);
  const told = consumer('the first', () => jsonLines(first.stdout()));
  await until('it has begun', LIMIT_MS, () => told.count('rollcall.roll.synced') === 1);
  await Promise.all(nodes.map((n) => writer.register(n, {}, n < 7 ? HELD_TTL_MS : 60_000)));
  await until('it is uncertain', LIMIT_MS, () => told.count('rollcall.roll.uncertain') > 0);
  // Told, and finished, after what is held.
  await writer.register(10);
  await until('it goes on', LIMIT_MS, () => told.roll().has(sampleInstanceId(10)));
  const cursor = () => readFile(join(dir, 'cursor'), 'utf8').catch(() => '');
  await until('a cursor is saved', LIMIT_MS, async () => (await cursor()).includes('revision'));
  await sleep(1_500); // and again at least once a second
  first.child.kill('SIGKILL');
  await first.ended;
  assert.equal(told.count('rollcall.instance.lost'), 0);
  const second = startRollcall(t, args);
  const both = consumer('both', () => [...jsonLines(first.stdout()), ...jsonLines(second.stdout())]);
  await agree([both], writer);
  assert.equal(both.count('rollcall.instance.lost'), 7);
  // It read on from before them, and held them, too.
  assert.equal(both.count('rollcall.roll.synced'), 1);
  const order = both.events().map(({ type }) => type);
  assert.ok(order.lastIndexOf('rollcall.roll.certain') < order.indexOf('rollcall.instance.lost'), order.join(', '));
});

/** A node's agent in a few lines: sends heartbeats, and registers again when its lease is gone. */
async function keepBeating(writer: SampleWriter, n: number, signal: AbortSignal): Promise<void> {
  let hold: Hold | null = null;
  while (!signal.aborted) {
    try {
      hold ??= (await writer.register(n, {}, HELD_TTL_MS)).hold;
      if ((await writer.store.renew(hold, signal)).kind !== 'renewed') hold = null;
    } catch {
      // etcd hangs: tried again
    }
    await sleep(500, undefined, { signal }).catch(() => {});
  }
}
