import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { until } from '../../support/machine-time.ts';
import { openEtcdStore, startPublishers } from '../../support/publishers.ts';

const AGENTS = 20;
const ESTABLISHED = '01';

/** Connections that etcd has open on its client port: proc_net_tcp(5). */
async function connectionsOf(server: EtcdServer): Promise<number> {
  const port = Number(new URL(server.clientUrl).port).toString(16).toUpperCase().padStart(4, '0');
  const rows = (await readFile('/proc/net/tcp', 'utf8')).split('\n').map((row) => row.trim().split(/\s+/));
  return rows.filter(([, local, , state]) => local?.endsWith(`:${port}`) && state === ESTABLISHED).length;
}

test('an agent keeps one connection, whatever it asks and however often it gives up', {
  timeout: 120_000,
}, async (t) => {
  const server = await startEtcd();
  t.after(() => server.dispose());
  // etcd's own gateway has one, too.
  const before = await connectionsOf(server);
  const agents = await startPublishers(t, server.endpoints, { count: AGENTS, ttlMs: 5_000 });
  await until('each has sent heartbeats', 30_000, () => agents.every(({ state }) => state().counts.beats >= 2));
  // On a busy machine a connection that answered no ping in time is replaced, and both are there for a moment.
  const oneEach = (count: number, when: string) =>
    until(`${count} connections ${when}`, 30_000, async () => (await connectionsOf(server)) === before + count);
  await oneEach(AGENTS, 'with watches and heartbeats');

  for (let round = 0; round < 10; round += 1) {
    const giveUp = new AbortController();
    const asked = agents.map(({ store }) => store.read(giveUp.signal));
    if (round % 2 === 0) await Promise.race(asked);
    giveUp.abort();
    await Promise.allSettled(asked);
  }
  for (const { want } of agents) want({ privateIpAddress: '10.0.0.9' });
  await until('each has written the change', 30_000, () =>
    agents.every(({ state }) => state().counts.recordWrites >= 2),
  );
  await oneEach(AGENTS, 'after calls that were given up');

  const reader = await openEtcdStore(server.endpoints);
  t.after(() => reader.close());
  assert.equal((await reader.read(new AbortController().signal)).entries.length, AGENTS);
  await oneEach(AGENTS + 1, 'with a reader');
});
