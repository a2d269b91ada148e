import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodePresence, encodeRecord } from '../../src/record/codec.ts';
import type { Kv, RangePage } from '../../src/store/kv.ts';
import { MAX_SKIPPED } from '../../src/store/read-roll.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import type { Store } from '../../src/store/store.ts';
import { CompactedError, StoreError } from '../../src/store/store-errors.ts';
import { fewerInQuickRun } from '../support/quick-run.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { type Backend, contractWorld, heldBy } from './contract-world.ts';

/** What a `Store` promises about reading the roll, for every kind of store alike. */
export function describeReadContract(kind: string, start: () => Promise<Backend>): void {
  describe(`reading the roll: the store contract on ${kind}`, () => {
    const world = contractWorld(start);
    const { signal, id, registration, recordOf, register, raw } = world;

    it('shows record and presence of a node that registered', async () => {
      const outcome = await register('session-a');
      const { instanceId: _, ...expected } = registration('session-a');
      assert.equal(outcome.kind, 'registered');
      const roll = await world.store.read(signal);
      const presence = { session: 'session-a', since: expected.since, ttlSeconds: expected.ttlMs / 1_000 };
      assert.deepEqual(roll.entries, [{ record: recordOf('session-a'), presence }]);
      assert.deepEqual(roll.skipped, []);
      assert.ok(BigInt(roll.revision) >= BigInt(heldBy(outcome).revision));
    });

    it('estimates how many other nodes there are from those that share the first digits of the id', async () => {
      assert.equal(await world.store.otherNodes('i-0ab00000000000000', signal), 0);
      for (const n of [0, 1, 2]) await raw(`v1/records/i-0ab0000000000000${n}`, '{}');
      await raw('v1/records/i-0ac00000000000000', '{}');
      assert.equal(await world.store.otherNodes('i-0ab00000000000000', signal), 512);
      assert.equal(await world.store.otherNodes('i-0ac00000000000000', signal), 0, 'itself');
      assert.equal(await world.store.otherNodes('mi-0ad0000000000000', signal), 0);
    });

    it('has one id for all its readers', async () => {
      const id = await world.store.id(signal);
      assert.match(id, /^[0-9a-f]{8,}(\/[\w.-]+)*$/);
      assert.equal(await createRollStore(await world.backend.open()).id(signal), id);
      await register('session-a');
      assert.equal(await world.store.id(signal), id, 'it does not change with what is in it');
    });

    it('skips foreign and broken keys, names them, and lists the rest', async () => {
      await register('session-a');
      const newer = { ...recordOf('x', { ec2InstanceId: sampleInstanceId(2) }), schemaVersion: 2 };
      const wrongId = encodeRecord(recordOf('x', { ec2InstanceId: sampleInstanceId(3) }));
      const presence = encodePresence({ session: 'x', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 });
      await raw(`v1/records/${sampleInstanceId(1)}`, '{"half');
      await raw(`v1/presence/${sampleInstanceId(1)}`, presence);
      await raw(`v1/records/${sampleInstanceId(2)}`, JSON.stringify(newer));
      await raw(`v1/records/${sampleInstanceId(4)}`, wrongId);
      await raw('v1/records/host-7', wrongId);
      await raw('v1/other', 'x');
      await raw(`v1/presence/${sampleInstanceId(5)}`, presence);
      await raw(`v1/presence/${id}0`, 'null');
      const { entries, skipped } = await world.store.read(signal);
      assert.deepEqual(
        entries.map(({ record }) => record.ec2InstanceId),
        [id],
      );
      assert.deepEqual(
        skipped.map(({ key }) => key).sort(),
        [
          'v1/other',
          `v1/presence/${id}0`,
          `v1/presence/${sampleInstanceId(5)}`,
          `v1/records/${sampleInstanceId(1)}`,
          `v1/records/${sampleInstanceId(2)}`,
          `v1/records/${sampleInstanceId(4)}`,
          'v1/records/host-7',
        ].sort(),
      );
      const reasons = new Map(skipped.map(({ key, reason }) => [key, reason]));
      assert.match(reasons.get(`v1/records/${sampleInstanceId(2)}`) ?? '', /schemaVersion 2 is newer/);
      assert.match(reasons.get(`v1/presence/${sampleInstanceId(5)}`) ?? '', /without a record/);
      const one = await world.store.readOne(sampleInstanceId(1), signal);
      assert.deepEqual([one.entry, one.skipped[0]?.reason], [null, 'not JSON']);
    });

    it('names at most `MAX_SKIPPED` unreadable keys, and counts the rest', async () => {
      for (let n = 0; n < MAX_SKIPPED + 7; n += 1) await raw(`v1/junk/${n}`, 'x');
      const { skipped } = await world.store.read(signal);
      assert.equal(skipped.length, MAX_SKIPPED + 1);
      assert.match(skipped.at(-1)?.reason ?? '', /^7 more keys/);
    });

    it('lists a large roll in bounded pages at one revision, whatever is written or compacted meanwhile', async () => {
      const count = fewerInQuickRun(10_000);
      await seed(world.kv, count, signal);
      const pages: RangePage[] = [];
      const disturbed = (afterPage: (pageNumber: number) => Promise<void>): Store =>
        createRollStore(
          Object.assign(Object.create(world.kv) as Kv, {
            range: async (...[query, rangeSignal]: Parameters<Kv['range']>) => {
              const page = await world.kv.range(query, rangeSignal);
              pages.push(page);
              await afterPage(pages.length);
              return page;
            },
          }),
        );
      const last = sampleInstanceId(count - 1);
      const overwrite = async (cluster: string) => {
        const value = encodeRecord(recordOf('x', { ec2InstanceId: last, cluster }));
        await raw(`v1/records/${last}`, value);
      };

      const before = await world.store.read(signal);
      const roll = await disturbed((page) => (page === 1 ? overwrite('changed') : Promise.resolve())).read(signal);
      assert.deepEqual([roll.entries.length, roll.skipped, roll.revision], [count, [], before.revision]);
      assert.equal(
        roll.entries.at(-1)?.record.cluster,
        'demo',
        'what was written after the first page is not in the list',
      );
      const sizes = pages.map((page) => page.kvs.reduce((sum, { key, value }) => sum + key.length + value.length, 0));
      assert.ok(pages.length >= 4 && Math.max(...sizes) <= 6_000_000, `pages of ${sizes} characters`);

      pages.length = 0;
      const restarted = await disturbed(async (page) => {
        if (page !== 1) return;
        await overwrite('again');
        await world.backend.compact();
      }).read(signal);
      assert.equal(restarted.entries.at(-1)?.record.cluster, 'again', 'compacted on the way, it starts over');

      await assert.rejects(
        disturbed(async () => {
          await overwrite('and again');
          await world.backend.compact();
        }).read(signal),
        (error) => error instanceof StoreError && error.retryable && !(error instanceof CompactedError),
      );
    });
  });
}

/** Nodes with record and presence, 50 to a transaction: etcd takes at most 128 operations in one. */
async function seed(kv: Kv, count: number, signal: AbortSignal): Promise<void> {
  const value = encodePresence({ session: 'x', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 });
  for (let first = 0; first < count; first += 50) {
    const puts = Array.from({ length: 50 }, (_, n) => sampleInstanceId(first + n)).flatMap((ec2InstanceId) => [
      { key: `v1/records/${ec2InstanceId}`, value: encodeRecord(sampleRecord({ ec2InstanceId })), lease: '0' },
      { key: `v1/presence/${ec2InstanceId}`, value, lease: '0' },
    ]);
    await kv.txn({ guards: [], puts, deletes: [], reads: [] }, signal);
  }
}
