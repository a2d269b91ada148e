import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect } from '../../src/client/connect.ts';
import type { RollcallClient, WatchedEvent } from '../../src/client/types.ts';
import { applyEvent } from '../../src/client/watch.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { InstanceJson } from '../../src/record/roll.ts';
import { openStore } from '../../src/store/open-store.ts';
import { parseStoreUrl } from '../../src/store/store-url.ts';
import { startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { serveStore } from '../support/serve-store.ts';

const { signal } = new AbortController();

/** etcd, an agent's HTTP port on it, and a client of each. */
async function world(t: TestContext) {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const url = etcd.clientUrl.replace('http', 'etcd');
  const deps = { clock: systemClock, random: Math.random };
  const settings = { caFile: null, certFile: null, keyFile: null, user: null, password: null };
  const store = await openStore(parseStoreUrl(url, settings), { ...deps, signal, create: true });
  let server = await serveStore(store);
  const { port } = new URL(server.url);
  const clients = [connect(url), connect(server.url)];
  t.after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await server.close();
    await store.close();
  });
  return {
    etcd,
    clients,
    async restartAgent() {
      await server.close();
      server = await serveStore(store, Number(port));
    },
    async register(n: number) {
      const instanceId = sampleInstanceId(n);
      const registration = {
        instanceId,
        session: `s${n}`,
        since: new Date().toISOString(),
        ttlMs: 60_000,
        retentionMs: 60_000,
      };
      await store.register(registration, sampleRecord({ ec2InstanceId: instanceId }), { takeover: true, signal });
    },
  };
}

/** A consumer that reads until the client closes. */
function consume(client: RollcallClient) {
  const instances = new Map<string, InstanceJson>();
  const events: WatchedEvent[] = [];
  const retries: string[] = [];
  const outcome = (async () => {
    for await (const event of client.watch({ onRetry: (error) => retries.push(error.message) })) {
      events.push(event);
      applyEvent(instances, event);
    }
    return 'ended';
  })().catch((error) => error);
  const count = (type: string) => events.filter((event) => event.type === type).length;
  return { instances, events, retries, outcome, count };
}

test('a watch survives an outage of etcd and a restart of its agent, and gets each event once', async (t) => {
  const { etcd, clients, register, restartAgent } = await world(t);
  await register(1);
  const consumers = clients.map(consume);
  for (const { count } of consumers) await until('synced', PATIENCE_MS, () => count('rollcall.roll.synced') === 1);
  await etcd.stop();
  await until('the list is stale', PATIENCE_MS, async () => (await clients[1]?.list())?.stale === true);
  await etcd.restart();
  await register(2);
  for (const { instances } of consumers) await until('the second is there', PATIENCE_MS, () => instances.size === 2);
  await restartAgent();
  await register(3);
  for (const { instances } of consumers) await until('the third is there', PATIENCE_MS, () => instances.size === 3);
  for (const { events, outcome, count } of consumers) {
    assert.equal(count('rollcall.roll.synced'), 1, 'it went on where it was');
    assert.equal(new Set(events.map(({ id }) => id)).size, events.length, 'no event came twice');
    outcome.then((end) => assert.equal(end, 'ended'));
  }
  assert.notEqual(consumers[1]?.retries.length, 0);
});

test('a restored etcd gives a new snapshot, and nodes that are not in it are gone', async (t) => {
  const { etcd, clients, register } = await world(t);
  await register(1);
  const directory = await mkdtemp(join(tmpdir(), 'rollcall-client-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  await etcd.etcdctl('snapshot', 'save', join(directory, 'backup'));
  await register(2);
  await register(3);
  const consumers = clients.map(consume);
  for (const { instances } of consumers) await until('three are there', PATIENCE_MS, () => instances.size === 3);
  await etcd.restore(join(directory, 'backup'));
  for (const { instances, count } of consumers) {
    await until('one is left', PATIENCE_MS, () => instances.size === 1 && count('rollcall.roll.synced') === 2);
  }
  await register(4);
  for (const { instances } of consumers) await until('the fourth is handled', PATIENCE_MS, () => instances.size === 2);
});

test('a watch that starts while etcd does not run begins when etcd does', async (t) => {
  const { etcd, clients, register } = await world(t);
  await register(1);
  await etcd.stop();
  const consumers = clients.map(consume);
  for (const { retries } of consumers) await until('it tries again', PATIENCE_MS, () => retries.length > 0);
  await assert.rejects(clients[0]?.list() ?? Promise.resolve(), /the roll is not known/);
  await assert.rejects(clients[1]?.list() ?? Promise.resolve(), /HTTP 503: the roll is not known/);
  await etcd.restart();
  for (const { instances } of consumers) await until('the node is there', PATIENCE_MS, () => instances.size === 1);
});
