import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect } from '../../src/client/connect.ts';
import { connectHttp } from '../../src/client/connect-http.ts';
import type { RollcallClient, WatchedEvent, WatchOptions } from '../../src/client/types.ts';
import { applyEvent } from '../../src/client/watch.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import type { InstanceJson } from '../../src/record/roll.ts';
import { FutureRevisionError } from '../../src/registry/event-source.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Hold } from '../../src/store/store.ts';
import { parseStoreUrl } from '../../src/store/store-url.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { serveStore } from '../support/serve-store.ts';

const { signal } = new AbortController();
const NO_SETTINGS = { caFile: null, certFile: null, keyFile: null, user: null, password: null };

/** A real store, an agent's HTTP port on it, and a client of each. Both clients must give the same results. */
async function world(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'rollcall-client-'));
  const url = `sqlite:${join(directory, 'roll.db')}`;
  const deps = { clock: systemClock, random: Math.random };
  const store = await openStore(parseStoreUrl(url, NO_SETTINGS), { ...deps, signal, create: true });
  const server = await serveStore(store);
  const byFetch = connectHttp(server.url);
  const clients = { store: connect(url), agent: connect(server.url), fetch: byFetch };
  t.after(async () => {
    await Promise.all(Object.values(clients).map((client) => client.close()));
    await server.close();
    await store.close();
    await rm(directory, { recursive: true, force: true });
  });
  const record = (n: number, overrides: Partial<NodeRecord> = {}) =>
    sampleRecord({ ec2InstanceId: sampleInstanceId(n), ...overrides });
  return {
    store,
    byFetch,
    clients,
    record,
    async register(n: number, overrides: Partial<NodeRecord> = {}): Promise<Hold> {
      const since = new Date().toISOString();
      const registration = {
        instanceId: sampleInstanceId(n),
        session: `s${n}`,
        since,
        ttlMs: 60_000,
        retentionMs: 60_000,
      };
      const outcome = await store.register(registration, record(n, overrides), { takeover: true, signal });
      assert.ok(outcome.kind === 'registered');
      return outcome.hold;
    },
  };
}

/** Reads `count` events into `events`, then leaves the loop. */
async function take(
  client: RollcallClient,
  count: number,
  options: WatchOptions = {},
  events: WatchedEvent[] = [],
): Promise<WatchedEvent[]> {
  for await (const event of client.watch({ ...options, signal: AbortSignal.timeout(PATIENCE_MS) })) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

/** The parts of an event that must be equal for both clients: all but its time. */
const timeless = (events: readonly WatchedEvent[]) => events.map(({ time: _, ...event }) => event);

async function takeBoth(
  clients: Record<'store' | 'agent' | 'fetch', RollcallClient>,
  count: number,
  options?: WatchOptions,
): Promise<WatchedEvent[]> {
  const [direct, served, fetched] = await Promise.all([
    take(clients.store, count, options),
    take(clients.agent, count, options),
    take(clients.fetch, count, options),
  ]);
  assert.deepEqual(timeless(served), timeless(direct));
  assert.deepEqual(timeless(fetched), timeless(direct));
  return direct;
}

test('a list is the same from the store and from an agent, with every filter', async (t) => {
  const { clients, register, store, record } = await world(t);
  await register(1);
  await register(2, { cluster: 'other', availabilityZone: null });
  const departure = { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } as const;
  await store.depart(await register(3), record(3, { departure }), signal);
  const cases = [
    [{}, 2],
    [{ cluster: 'other' }, 1],
    [{ cluster: ['other', 'demo'], presence: 'all' }, 3],
    [{ presence: ['departed', 'lost'] }, 1],
    [{ health: 'critical' }, 0],
    [{ az: 'us-east-1a' }, 1],
    [{ selector: 'role=node,!gpu', cluster: ['demo', 'nowhere'] }, 1],
    [{ presence: 'all', limit: 2 }, 2],
    [{ presence: 'all', limit: 2, after: sampleInstanceId(2) }, 1],
  ] as const;
  for (const [options, count] of cases) {
    const { ageMs: _, ...direct } = await clients.store.list(options);
    const { ageMs: __, ...served } = await clients.agent.list(options);
    assert.deepEqual(served, direct);
    const { ageMs: ___, ...fetched } = await clients.fetch.list(options);
    assert.deepEqual(fetched, direct);
    assert.equal(direct.containerInstances.length, count, JSON.stringify(options));
    assert.equal(direct.stale, false);
    assert.equal(direct.next, 'limit' in options && !('after' in options) ? sampleInstanceId(2) : null);
  }
  await assert.rejects(
    clients.store.list({ health: 'bad' as 'passing' }),
    /health "bad" is not known; allowed: passing/,
  );
  await assert.rejects(clients.agent.list({ az: '' }), /az has an empty value/);
  for (const client of Object.values(clients)) {
    await assert.rejects(client.list({ limit: 0 }), /limit "0" is not a number of nodes; allowed: 1 to 10000/);
    await assert.rejects(client.list({ after: 'demo' }), /after "demo" is not an instance id/);
  }
});

test('by fetch there are also one node and the status', async (t) => {
  const { byFetch, register, record } = await world(t);
  await register(1);
  await register(2, { cluster: 'other' });
  const one = await byFetch.get(sampleInstanceId(1));
  assert.ok(one);
  const { presence, ...known } = one.containerInstance;
  assert.deepEqual([known, presence.state, one.stale], [record(1), 'present', false]);
  assert.equal(await byFetch.get(sampleInstanceId(9)), null);
  await assert.rejects(byFetch.get('10.0.0.1'), /^UsageError: "10.0.0.1" is not an instance id/);
  assert.equal((await byFetch.status()).nodes.present, 2);
  assert.equal((await byFetch.status({ cluster: 'other' })).nodes.present, 1);
  await assert.rejects(byFetch.status({ health: 'bad' as 'passing' }), /health "bad" is not known/);
  await byFetch.close();
  await assert.rejects(byFetch.status(), /^RollcallError: the client of \S+ is closed$/);
});

test('a snapshot and later events are the same from the store and from an agent, and give the roll', async (t) => {
  const { clients, register, store, record } = await world(t);
  await register(1);
  const hold = await register(2);
  const [direct, served]: WatchedEvent[][] = [[], []];
  const following = Promise.all([take(clients.store, 6, {}, direct), take(clients.agent, 6, {}, served)]);
  await until('both have their snapshot', PATIENCE_MS, () => direct?.length === 3 && served?.length === 3);
  const interruption = { kind: 'spot', action: 'terminate', time: null };
  await store.update(hold, record(2, { interruption }), signal);
  await register(3);
  const departure = { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } as const;
  await store.depart(hold, record(2, { interruption, departure }), signal);
  const [events, others] = await following;
  assert.deepEqual(timeless(others), timeless(events));
  assert.deepEqual(events.map(({ type, subject }) => `${type.replace(/.*\./, '')} ${subject ?? ''}`.trim()).slice(-4), [
    'synced',
    'interruption i-00000002',
    'registered i-00000003',
    'departed i-00000002',
  ]);

  const instances = new Map<string, InstanceJson>();
  for (const event of events) applyEvent(instances, event);
  const { containerInstances, revision } = await clients.store.list({ presence: 'all' });
  assert.deepEqual([...instances.values()], containerInstances);
  assert.equal(events.at(-1)?.cursor, revision);
});

test('a filtered watch continues after a cursor with both sources; both refuse a future revision', async (t) => {
  const { clients, register } = await world(t);
  const [, synced] = [await register(1), await take(clients.store, 2)];
  const since = synced.at(-1)?.cursor ?? null;
  assert.ok(since !== null);
  await register(2, { cluster: 'other' });
  await register(3);
  await register(4, { cluster: 'other' });
  const events = await takeBoth(clients, 2, { since, cluster: 'other', types: ['rollcall.instance.registered'] });
  assert.deepEqual(
    events.map(({ subject }) => subject),
    ['i-00000002', 'i-00000004'],
  );
  for (const client of Object.values(clients)) {
    await assert.rejects(take(client, 1, { since: '999999999' }), (error: FutureRevisionError) => {
      assert.ok(error instanceof FutureRevisionError);
      assert.equal(error.name, 'FutureRevisionError');
      assert.equal(error.since, '999999999');
      assert.match(error.message, /the store is at \d+, so it is another store/);
      return true;
    });
  }
});
