import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { NodeRecord } from '../../src/record/record.ts';
import { presenceKey } from '../../src/store/keys.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import { openMemoryKv } from '../../src/store/sqlite/sqlite-kv.ts';
import type { Hold, Registration, Store } from '../../src/store/store.ts';
import { LeaseNotFoundError, StoreError } from '../../src/store/store-errors.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import { type SlowWire, slowWire } from './slow-wire.ts';

describe('roll store', () => {
  const { signal } = new AbortController();
  const id = sampleInstanceId();
  const registration = (session: string, since = '2026-01-01T00:00:00Z'): Registration => {
    return { instanceId: id, session, since, ttlMs: 30_000, retentionMs: 3_600_000 };
  };
  const recordOf = (session: string, overrides: Partial<NodeRecord> = {}) =>
    sampleRecord({ sidecar: { version: '0.1.0', session }, ...overrides });

  async function open(t: TestContext): Promise<{ store: Store; wire: SlowWire; kv: SlowWire['kv'] }> {
    const deps = { clock: simulatedClock(), random: Math.random, bootId: 'boot-1' };
    const kv = await openMemoryKv({ kind: 'memory', label: 'memory:', name: t.name }, deps);
    const wire = slowWire(kv);
    const store = createRollStore(wire.kv);
    t.after(() => store.close());
    return { store, wire, kv };
  }

  async function register(store: Store, session: string, since?: string): Promise<Hold> {
    const outcome = await store.register(registration(session, since), recordOf(session), { takeover: true, signal });
    if (outcome.kind !== 'registered') assert.fail(JSON.stringify(outcome));
    return outcome.hold;
  }

  const clusterOf = async (store: Store) => (await store.readOne(id, signal)).entry?.record.cluster;
  const update = (store: Store, hold: Hold, cluster: string) =>
    store.update(hold, recordOf(hold.registration.session, { cluster }), signal);

  test('an update that the store carries out late does not overwrite a newer one', async (t) => {
    const { store, wire } = await open(t);
    const hold = await register(store, 'a');
    wire.keepNext();
    await assert.rejects(update(store, hold, 'first'), StoreError);
    assert.equal((await update(store, hold, 'second')).kind, 'written');
    assert.deepEqual(
      (await wire.deliver()).map(({ succeeded }) => succeeded),
      [false],
    );
    assert.equal(await clusterOf(store), 'second');
    assert.equal((await update(store, hold, 'third')).kind, 'written');
  });

  test('an update follows one that was carried out without an answer', async (t) => {
    const { store, wire } = await open(t);
    const hold = await register(store, 'a');
    wire.loseNextAnswer();
    await assert.rejects(update(store, hold, 'first'), StoreError);
    assert.equal(await clusterOf(store), 'first');
    assert.equal((await update(store, hold, 'second')).kind, 'written');
    wire.keepNext();
    await assert.rejects(update(store, hold, 'third'), StoreError);
    await wire.deliver();
    assert.equal((await update(store, hold, 'fourth')).kind, 'written');
    assert.equal(await clusterOf(store), 'fourth');
  });

  test('a copy of a hold can be used for updates, and an update restores a deleted record', async (t) => {
    const { store, kv } = await open(t);
    const hold = await register(store, 'a');
    assert.equal((await update(store, { ...hold }, 'copy')).kind, 'written');
    await kv.txn({ guards: [], puts: [], deletes: [`v1/records/${id}`], reads: [] }, signal);
    assert.equal((await update(store, hold, 'healed')).kind, 'written');
    assert.equal(await clusterOf(store), 'healed');
  });

  test('an update that is carried out late changes nothing after the departure', async (t) => {
    const { store, wire } = await open(t);
    const hold = await register(store, 'a');
    wire.keepNext();
    await assert.rejects(update(store, hold, 'first'), StoreError);
    const departed = recordOf('a', { departure: { cause: 'stopped', at: '2026-01-01T01:00:00Z' } });
    assert.equal((await store.depart(hold, departed, signal)).kind, 'written');
    await wire.deliver();
    assert.equal((await store.readOne(id, signal)).entry?.record.departure?.cause, 'stopped');
  });

  test('an agent whose registration got no answer does not replace the newer one that registered meanwhile', async (t) => {
    const { store, wire } = await open(t);
    wire.loseNextAnswer();
    await assert.rejects(register(store, 'older', '2026-01-01T00:00:00Z'), StoreError);
    const newer = await register(store, 'newer', '2026-01-01T00:00:05Z');
    const again = await store.register(registration('older'), recordOf('older'), { takeover: true, signal });
    assert.deepEqual(again, { kind: 'superseded', by: 'newer' });
    assert.equal((await update(store, newer, 'mine')).kind, 'written');
  });

  test('a registration that the store carries out late keeps its leases, although its caller got an error', async (t) => {
    const { store, wire, kv } = await open(t);
    wire.keepNext();
    await assert.rejects(register(store, 'a'), StoreError);
    assert.deepEqual(wire.released, []);
    assert.equal((await wire.deliver())[0]?.succeeded, true);
    const reads = [`v1/presence/${id}`, `v1/records/${id}`];
    const seen = await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
    for (const kept of seen.reads) assert.equal(await kv.keepAlive(kept?.lease ?? '0', signal), true, kept?.key);
    assert.equal((await store.readOne(id, signal)).entry?.presence?.session, 'a');
    const before = (await store.read(signal)).revision;
    const hold = await register(store, 'a');
    assert.equal(hold.presenceLease, seen.reads[0]?.lease, 'it is recognised as what was asked for');
    assert.equal((await store.read(signal)).revision, before, 'and not written again');
    assert.deepEqual(wire.released, []);
    assert.equal((await update(store, hold, 'next')).kind, 'written');
  });

  test('a registration without an answer is repeated as it was, and written only where it did not happen', async (t) => {
    const { store, wire, kv } = await open(t);
    const leases = new Set<string>();
    wire.kv.grant = (...asked) => {
      leases.add(asked[2] ?? '');
      return kv.grant(...asked);
    };
    for (const fail of [wire.keepNext, wire.keepNext, wire.loseNextAnswer]) {
      fail();
      await assert.rejects(register(store, 'a'), StoreError);
    }
    const { revision } = await store.read(signal);
    const hold = await register(store, 'a');
    assert.equal((await store.read(signal)).revision, revision);
    assert.equal(leases.size, 2, 'one presence lease and one retention lease, in four attempts');
    assert.deepEqual(
      (await wire.deliver()).map(({ succeeded }) => succeeded),
      [false, false],
      'what comes late',
    );
    assert.equal(await store.notHeld(hold, signal), null);
  });

  test('a record that changed between two attempts at a registration is written', async (t) => {
    const { store, wire } = await open(t);
    wire.loseNextAnswer();
    await assert.rejects(register(store, 'a'), StoreError);
    const changed = recordOf('a', { cluster: 'changed' });
    const outcome = await store.register(registration('a'), changed, { takeover: true, signal });
    assert.equal(outcome.kind, 'registered');
    assert.equal(await clusterOf(store), 'changed');
  });

  /** A registration whose outcome its caller does not know, and what `onSent` said of it. */
  async function registerUnheard(store: Store, session: string): Promise<Hold> {
    let sent: Hold | null = null;
    const onSent = (hold: Hold | null) => {
      sent = hold;
    };
    const options = { takeover: true, signal, onSent };
    await assert.rejects(store.register(registration(session), recordOf(session), options), StoreError);
    return sent ?? assert.fail('it was not told that anything was sent');
  }
  const departed = (session: string) =>
    recordOf(session, { departure: { cause: 'stopped', at: '2026-01-01T01:00:00Z' } });

  test('an agent departs from a registration that got no answer', async (t) => {
    const { store, wire } = await open(t);
    wire.loseNextAnswer();
    const sent = await registerUnheard(store, 'a');
    assert.equal((await store.depart(sent, departed('a'), signal)).kind, 'written');
    const { entry } = await store.readOne(id, signal);
    assert.deepEqual([entry?.presence, entry?.record.departure?.cause], [null, 'stopped']);
  });

  test('after its departure a registration that is still on its way is refused', async (t) => {
    const { store, wire } = await open(t);
    wire.keepNext();
    const sent = await registerUnheard(store, 'a');
    assert.equal((await store.depart(sent, departed('a'), signal)).kind, 'lost');
    await assert.rejects(wire.deliver(), LeaseNotFoundError);
    assert.equal((await store.readOne(id, signal)).entry, null);
  });

  test('so is one that would follow on a registration that was lost', async (t) => {
    const { store, wire } = await open(t);
    await register(store, 'a');
    await wire.kv.txn({ guards: [], puts: [], deletes: [presenceKey(id)], reads: [] }, signal);
    wire.keepNext();
    const sent = await registerUnheard(store, 'a');
    assert.equal((await store.depart(sent, departed('a'), signal)).kind, 'written');
    await assert.rejects(wire.deliver(), LeaseNotFoundError);
    assert.equal((await store.readOne(id, signal)).entry?.record.departure?.cause, 'stopped');
    // Sent again it is the same departure, and ends as much.
    assert.equal((await store.depart(sent, departed('a'), signal)).kind, 'written');
  });

  for (const [what, when] of [
    ['before its lease has ended', 'before'],
    ['while its lease is ended', 'amid'],
    ['after its lease has ended', 'after'],
  ] as const) {
    for (const carriedOut of [false, true]) {
      const first = carriedOut ? 'the second copy of a registration' : 'a registration';
      test(`${first} that comes after the departure, ${what}, does not undo it`, async (t) => {
        const { store, wire, kv } = await open(t);
        wire.keepNext();
        let sent = await registerUnheard(store, 'a');
        let copy = wire.take();
        if (carriedOut) {
          wire.keepNext();
          sent = await registerUnheard(store, 'a');
          const second = wire.take();
          await copy();
          copy = second;
        }
        let hasCome = false;
        const arrive = async () => {
          if (hasCome) return;
          hasCome = true;
          await copy();
        };
        const { releaseEmpty } = wire.kv;
        wire.kv.releaseEmpty = async (lease, ...rest) => {
          if (when === 'before') await arrive();
          // As in etcd, which has two steps for it.
          const isEmpty = await isUnused(kv, lease);
          if (when === 'amid' && isEmpty && !hasCome) {
            await arrive();
            await kv.txn({ guards: [], puts: [], deletes: [presenceKey(id)], reads: [] }, signal);
          }
          return releaseEmpty.call(wire.kv, lease, ...rest);
        };
        const outcome = await store.depart(sent, departed('a'), signal);
        if (when === 'after') await assert.rejects(arrive, LeaseNotFoundError);
        const { entry } = await store.readOne(id, signal);
        assert.equal(entry?.presence ?? null, null);
        const isThere = carriedOut || when !== 'after';
        assert.deepEqual(
          [outcome.kind, entry?.record.departure?.cause],
          isThere ? ['written', 'stopped'] : ['lost', undefined],
        );
        if (outcome.kind === 'written') assert.equal(outcome.revision, (await store.read(signal)).revision);
        assert.ok(hasCome);
      });
    }
  }

  const isUnused = async (kv: SlowWire['kv'], lease: string) => {
    const { reads } = await kv.txn({ guards: [], puts: [], deletes: [], reads: [presenceKey(id)] }, signal);
    return reads[0]?.lease !== lease;
  };

  test('only a registration that may come late costs a departure more than one write', async (t) => {
    const { store, wire, kv } = await open(t);
    const hold = await register(store, 'a');
    let calls = 0;
    wire.kv.txn = (...asked) => {
      calls += 1;
      return kv.txn(...asked);
    };
    assert.equal((await store.depart(hold, departed('a'), signal)).kind, 'written');
    assert.deepEqual([calls, wire.released], [1, []]);
  });

  test('an agent whose first registration was not carried out is not superseded by the one before it', async (t) => {
    const { store, wire } = await open(t);
    const first = await register(store, 'first');
    await store.depart(first, departed('first'), signal);
    wire.keepNext();
    const sent = await registerUnheard(store, 'a');
    assert.equal((await store.depart(sent, departed('a'), signal)).kind, 'lost');
  });

  test('a registration that the store refused is reported as not carried out', async (t) => {
    const { store } = await open(t);
    await register(store, 'newer', '2026-01-01T00:00:05Z');
    const told: boolean[] = [];
    const onSent = (hold: Hold | null) => told.push(hold !== null);
    await store.register(registration('older'), recordOf('older'), { takeover: true, signal, onSent });
    assert.deepEqual(told, [true, false]);
  });

  test('a departure without an answer ends no lease that its write may still use', async (t) => {
    const { store, wire } = await open(t);
    const hold = await register(store, 'a');
    const bereft = { ...hold, retentionLease: '4242' };
    const departed = recordOf('a', { departure: { cause: 'stopped', at: '2026-01-01T01:00:00Z' } });
    assert.equal((await store.depart(bereft, departed, signal)).kind, 'written');
    assert.deepEqual(wire.released, []);
  });

  test('a registration does not wait until the leases of the overwritten keys have ended', async (t) => {
    const { store, wire } = await open(t);
    await register(store, 'a');
    wire.releaseHangs = true;
    await register(store, 'b');
    assert.equal(wire.released.length, 1);
    assert.deepEqual(
      await store.register(registration('a'), recordOf('a'), { takeover: false, signal }),
      { kind: 'superseded', by: 'b' },
      'nor does one that was refused',
    );
    // Closing ends those calls with an error that no caller may be left to catch.
    await store.close();
  });

  test('a superseded session learns it at once even if its leases were not ended', async (t) => {
    const { store, wire } = await open(t);
    const old = await register(store, 'a');
    wire.releaseHangs = true;
    await register(store, 'b');
    const told = store.untilNotHeld(old, signal);
    assert.deepEqual(await told, { kind: 'superseded', by: 'b' });
  });
});
