import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createRollStore } from '../../src/store/roll-store.ts';
import { CompactedError, StoreError } from '../../src/store/store-errors.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { type Backend, contractWorld, heldBy } from './contract-world.ts';
import { follow } from './follow.ts';

/** What a `Store` promises about watching the roll, for every kind of store alike. */
export function describeWatchContract(kind: string, start: () => Promise<Backend>): void {
  describe(`watching the roll: the store contract on ${kind}`, () => {
    const world = contractWorld(start);
    const { signal, id, registration, recordOf, register, departureOf, stateOf, followFrom, until, raw } = world;

    it('starts empty, at a revision from which a watch can start', async () => {
      const roll = await world.store.read(signal);
      assert.deepEqual([roll.entries, roll.skipped], [[], []]);
      assert.deepEqual(await world.store.readOne(id, signal), { revision: roll.revision, entry: null, skipped: [] });
      const follower = followFrom(roll.revision);
      await register('session-a');
      await until(() => follower.changes().length > 0, 'a change is seen');
    });

    it('shows a registration and a departure to a watcher as one batch each', async () => {
      const { revision } = await world.store.read(signal);
      const follower = followFrom(revision);
      const { hold, revision: registeredAt } = heldBy(await register('session-a'));
      const departed = await world.store.depart(hold, departureOf('session-a'), signal);
      assert.equal(departed.kind, 'written');
      await until(() => follower.changes().length >= 4, 'two changes of each');
      const batches = follower.withChanges();
      assert.deepEqual(
        batches.map((batch) => [batch.revision, batch.changes.map((change) => change.kind).sort()]),
        [
          [registeredAt, ['presence', 'record']],
          [departed.kind === 'written' && departed.revision, ['presence', 'record']],
        ],
      );
      const gone = batches[1]?.changes.find((change) => change.kind === 'presence');
      assert.deepEqual([gone?.presence, gone?.previous?.session], [null, 'session-a']);
      const record = batches[1]?.changes.find((change) => change.kind === 'record');
      assert.deepEqual(
        [record?.record?.departure?.cause, record?.previous?.departure],
        ['stopped', null],
        'the change says what it replaced',
      );
    });

    it('loses a node without heartbeats: the record stays, a watcher sees the presence end', async () => {
      const { hold, revision } = heldBy(await register('session-a'));
      const follower = followFrom(revision);
      await until(() => follower.changes().length > 0, 'the presence goes');
      assert.deepEqual(
        follower
          .changes()
          .map((change) => (change.kind === 'presence' ? [change.presence, change.previous?.session] : change.kind)),
        [[null, 'session-a']],
      );
      assert.equal(await stateOf(), 'lost');
      assert.deepEqual(await world.store.renew(hold, signal), { kind: 'lost' });
      assert.deepEqual(await world.store.update(hold, recordOf('session-a'), signal), { kind: 'lost' });
    });

    it('forgets a node when its retention runs out, and tells watchers', async () => {
      const short = { ...registration('session-a'), retentionMs: world.backend.ttlMs };
      const outcome = await world.store.register(short, recordOf('session-a'), { takeover: true, signal });
      const follower = followFrom(heldBy(outcome).revision);
      await until(() => follower.changes().length >= 2, 'both keys go');
      assert.deepEqual(
        follower
          .changes()
          .map((change) => change.kind)
          .sort(),
        ['presence', 'record'],
      );
      assert.deepEqual((await world.store.read(signal)).entries, []);
    });

    it('shows a watcher a record that became unreadable as gone and skipped, and continues', async () => {
      const { hold, revision } = heldBy(await register('session-a'));
      const follower = followFrom(revision);
      await raw(`v1/records/${id}`, 'junk');
      await raw('v1/other', 'x');
      await world.store.update(hold, recordOf('session-a'), signal);
      await until(() => follower.withChanges().length >= 3, 'three batches');
      await world.kv.txn({ guards: [], puts: [], deletes: ['v1/other'], reads: [] }, signal);
      await until(() => follower.withChanges().length >= 4, 'four batches');
      const [broken, foreign, repaired, tidied] = follower.withChanges();
      assert.deepEqual(tidied?.changes, [{ kind: 'unskipped', key: 'v1/other' }]);
      assert.deepEqual(
        broken?.changes.map((c) => (c.kind === 'record' ? [c.record, c.previous?.ec2InstanceId] : c)),
        [[null, id], { kind: 'skipped', skipped: { key: `v1/records/${id}`, reason: 'not JSON' } }],
      );
      assert.deepEqual(
        foreign?.changes.map((c) => c.kind),
        ['skipped'],
      );
      assert.deepEqual(
        repaired?.changes.map((c) => (c.kind === 'record' ? [c.record?.ec2InstanceId, c.previous] : c)),
        [[id, null]],
      );
    });

    it('resumes a watch after a revision: nothing missed, nothing twice', async () => {
      const { revision } = await world.store.read(signal);
      const whole = followFrom(revision);
      const { hold } = heldBy(await register('session-a'));
      for (let n = 1; n <= 5; n += 1) {
        await world.store.update(hold, recordOf('session-a', { privateIpAddress: `10.0.0.${n}` }), signal);
      }
      await world.store.depart(hold, departureOf('session-a'), signal);
      await until(() => whole.withChanges().length >= 7, 'seven batches');
      const batches = whole.withChanges();
      for (const [index, { revision: at }] of batches.entries()) {
        const rest = batches.slice(index + 1);
        const resumed = followFrom(at, createRollStore(world.kv));
        if (rest.length > 0) await until(() => resumed.withChanges().length >= rest.length, 'the rest is seen');
        assert.deepEqual(resumed.withChanges(), rest);
        await resumed.stop();
      }
    });

    it('confirms to a watcher without changes that it is up to date', async () => {
      const { revision } = await world.store.read(signal);
      const follower = followFrom(revision);
      let waitedMs = 0;
      for (; follower.batches.length === 0 && waitedMs <= 10_000; waitedMs += 250) await world.backend.pass(250);
      const [batch] = follower.batches;
      assert.deepEqual({ ...batch, confirmedMsAgo: 0 }, { revision, changes: [], confirmedMsAgo: 0 });
      assert.ok((batch?.confirmedMsAgo ?? -1) >= 0);
    });

    it('confirms to a watcher also while changes never pause', async () => {
      const { revision } = await world.store.read(signal);
      const follower = followFrom(revision);
      const confirmed = () => follower.batches.some(({ confirmedMsAgo }) => confirmedMsAgo !== undefined);
      for (let waitedMs = 0; !confirmed() && waitedMs <= 10_000; waitedMs += 250) {
        await raw('v1/other', String(waitedMs));
        await world.backend.pass(250);
      }
      assert.ok(confirmed());
    });

    it('says that changes were compacted, and lets the reader start over from a snapshot', async () => {
      const { revision } = await world.store.read(signal);
      const { hold } = heldBy(await register('session-a'));
      await world.store.update(hold, recordOf('session-a', { cluster: 'other' }), signal);
      await world.backend.compact();
      const error = await followFrom(revision).ended;
      assert.ok(error instanceof CompactedError, String(error));
      const roll = await world.store.read(signal);
      assert.equal(roll.entries[0]?.record.cluster, 'other');
      const follower = followFrom(roll.revision);
      await world.store.depart(hold, departureOf('session-a'), signal);
      await until(() => follower.changes().length >= 2, 'the departure is seen');
    });

    it('lets two clients of one store see each other', async () => {
      const other = createRollStore(await world.backend.open());
      const follower = followFrom((await other.read(signal)).revision, other);
      await register('session-a');
      await register('session-b', { by: other, instanceId: sampleInstanceId(1) });
      await until(() => follower.changes().length >= 4, 'both registrations are seen');
      assert.deepEqual((await world.store.read(signal)).entries, (await other.read(signal)).entries);
      assert.equal((await world.store.read(signal)).entries.length, 2);
    });

    it('rejects calls after it was closed, and ends its watches', async () => {
      const other = createRollStore(await world.backend.open());
      const follower = follow(other, (await other.read(signal)).revision);
      await world.backend.pass(300);
      await other.close();
      assert.ok((await follower.ended) instanceof Error);
      await assert.rejects(other.read(signal), StoreError);
      assert.equal((await world.store.read(signal)).entries.length, 0, 'the other client still works');
    });
  });
}
