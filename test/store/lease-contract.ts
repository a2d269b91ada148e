import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Kv } from '../../src/store/kv.ts';
import { MAX_ASKED_PRESENCES } from '../../src/store/read-roll.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import type { Hold } from '../../src/store/store.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { type Backend, contractWorld, heldBy } from './contract-world.ts';

/** What a `Store` promises about heartbeats and leases, for every kind of store alike. */
export function describeLeaseContract(kind: string, start: () => Promise<Backend>): void {
  describe(`heartbeats and leases: the store contract on ${kind}`, () => {
    const world = contractWorld(start);
    const { signal, id, registration, recordOf, register, departureOf, stateOf, until, raw } = world;

    it('keeps a node present while it sends heartbeats, without a revision', async () => {
      const { hold, revision } = heldBy(await register('session-a'));
      for (let heartbeat = 0; heartbeat < 6; heartbeat += 1) {
        await world.backend.pass(world.backend.ttlMs / 3);
        assert.deepEqual(await world.store.renew(hold, signal), { kind: 'renewed' });
        assert.deepEqual(await world.store.renewRetention(hold, signal), { kind: 'renewed' });
      }
      const roll = await world.store.read(signal);
      assert.equal(roll.revision, revision);
      assert.equal(roll.entries[0]?.presence?.session, 'session-a');
    });

    it('grants one lease however often a grant with its name is repeated, and a new one after its end', async () => {
      const lease = world.kv.leaseOf('some name');
      assert.notEqual(world.kv.leaseOf('other name'), lease);
      assert.deepEqual(await world.kv.grant(60_000, signal, lease), { lease, ttlMs: 60_000 });
      assert.deepEqual(await (await world.backend.open()).grant(90_000, signal, lease), { lease, ttlMs: 60_000 });
      await world.kv.releaseEmpty(lease, signal);
      assert.equal(await world.kv.keepAlive(lease, signal), false);
      assert.deepEqual(await world.kv.grant(90_000, signal, lease), { lease, ttlMs: 90_000 });
    });

    it('takes presence leases whose ids no other process can compute', async () => {
      const first = heldBy(await register('session-a')).hold;
      const other = createRollStore(await world.backend.open(), 'its own secret');
      const again = await register('session-a', { by: other, takeover: false });
      assert.notEqual(heldBy(again).hold.presenceLease, first.presenceLease);
    });

    it('keeps the retention lease of a node from one session to the next', async () => {
      const first = heldBy(await register('session-a')).hold;
      await world.store.depart(first, departureOf('session-a'), signal);
      const second = heldBy(await register('session-b')).hold;
      assert.equal(second.retentionLease, first.retentionLease);
      const other = heldBy(await register('session-a', { instanceId: sampleInstanceId(1) })).hold;
      assert.notEqual(other.retentionLease, first.retentionLease);
    });

    it('keeps no record on a lease that another client granted under its name, for a shorter time', async () => {
      const guessed = world.kv.leaseOf(`retention ${id} 3600000`);
      await world.kv.grant(world.backend.ttlMs, signal, guessed);
      const { hold } = heldBy(await register('session-a'));
      assert.notEqual(hold.retentionLease, guessed);
      const [time] = await world.kv.remaining([hold.retentionLease], signal);
      assert.equal(time?.grantedMs, 3_600_000);
      const { entry } = await world.store.readOne(id, signal);
      assert.ok(entry);
    });

    it('counts nodes that missed a heartbeat as overdue, without a revision', async () => {
      const ids = [0, 1, 2].map(sampleInstanceId);
      // Between being overdue and being lost lies half a TTL, in which a busy machine must get its turn.
      const ttlMs = 4 * world.backend.ttlMs;
      const holds: Hold[] = [];
      for (const instanceId of ids) {
        const record = recordOf('session-a', { ec2InstanceId: instanceId });
        const outcome = await world.store.register({ ...registration('session-a', instanceId), ttlMs }, record, {
          takeover: true,
          signal,
        });
        holds.push(heldBy(outcome).hold);
      }
      const heartbeat = (some: readonly Hold[]) => Promise.all(some.map((hold) => world.store.renew(hold, signal)));
      await heartbeat(holds);
      const { revision } = await world.store.read(signal);
      assert.deepEqual(await world.store.overdue(ids, signal), { asked: 3, overdue: 0 });
      const other = createRollStore(await world.backend.open());
      let counted = await other.overdue(ids, signal);
      for (let passedMs = 0; counted.overdue === 0; passedMs += 100) {
        assert.ok(passedMs < ttlMs, 'still not overdue');
        await world.backend.pass(100);
        await heartbeat(holds.slice(1));
        counted = await other.overdue(ids, signal);
      }
      assert.deepEqual(counted, { asked: 3, overdue: 1 });
      assert.equal(await stateOf(ids[0]), 'present', 'it is late and not lost');
      assert.equal((await world.store.read(signal)).revision, revision);
    });

    it('counts a node whose presence is gone as overdue, and ignores a presence without a lease', async () => {
      const { hold } = heldBy(await register('session-a'));
      await raw(`v1/presence/${sampleInstanceId(1)}`, 'by hand');
      const ids = [0, 1, 2].map(sampleInstanceId);
      assert.deepEqual(await world.store.overdue(ids, signal), { asked: 2, overdue: 1 });
      await world.store.depart(hold, departureOf('session-a'), signal);
      assert.deepEqual(await world.store.overdue(ids, signal), { asked: 2, overdue: 2 });
      assert.deepEqual(await world.store.overdue([], signal), { asked: 0, overdue: 0 });
    });

    it('reads only the first `MAX_ASKED_PRESENCES` presences', async () => {
      const { lease } = await world.kv.grant(30_000, signal);
      const ids = Array.from({ length: MAX_ASKED_PRESENCES + 8 }, (_, n) => sampleInstanceId(n));
      const puts = ids.slice(8).map((instanceId) => ({ key: `v1/presence/${instanceId}`, value: 'x', lease }));
      await world.kv.txn({ guards: [], puts, deletes: [], reads: [] }, signal);
      assert.deepEqual(await world.store.overdue(ids, signal), { asked: MAX_ASKED_PRESENCES, overdue: 8 });
    });

    it('returns the remaining time of each lease, and null for one that is gone', async () => {
      const [long, short] = [await world.kv.grant(60_000, signal), await world.kv.grant(world.backend.ttlMs, signal)];
      const [, none, left] = await world.kv.remaining([short.lease, '4343', long.lease], signal);
      assert.equal(none, null);
      assert.equal(left?.grantedMs, 60_000);
      assert.ok(left.remainingMs > 55_000 && left.remainingMs <= 60_000, `${left.remainingMs} ms`);
      await until(async () => (await world.kv.remaining([short.lease], signal))[0] === null, 'the short one is gone');
    });

    it('leaves no lease behind when it refuses or replaces a registration', async () => {
      const granted: string[] = [];
      const spying: Kv = Object.assign(Object.create(world.kv), {
        grant: async (...asked: Parameters<Kv['grant']>) => {
          // In the order in which they are asked for: two of them are under way at a time.
          const place = granted.push('') - 1;
          const answer = await world.kv.grant(...asked);
          granted[place] = answer.lease;
          return answer;
        },
      });
      const spied = createRollStore(spying);
      await register('session-a', { by: spied });
      await register('session-b', { by: spied });
      await register('session-a', { by: spied, takeover: false });
      let alive: boolean[] = [];
      await until(async () => {
        alive = await Promise.all(granted.map((lease) => world.kv.keepAlive(lease, signal)));
        return alive.filter(Boolean).length <= 2;
      }, 'unused leases are ended');
      // The presence leases of the three, and after the first one the node's retention lease.
      assert.deepEqual(alive, [false, true, true, false], 'the second hold is the one that counts');
    });
  });
}
