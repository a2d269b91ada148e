import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeRecord } from '../../src/record/codec.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import { type Backend, contractWorld, gone, heldBy } from './contract-world.ts';
import { follow } from './follow.ts';

/** What a `Store` promises about registering, updating and departing, for every kind of store alike. */
export function describeRegistrationContract(kind: string, start: () => Promise<Backend>): void {
  describe(`registering, updating and departing: the store contract on ${kind}`, () => {
    const world = contractWorld(start);
    const { signal, id, registration, recordOf, register, departureOf, stateOf, until } = world;

    it('replaces the record of a node whose presence is held', async () => {
      const { hold } = heldBy(await register('session-a'));
      const changed = recordOf('session-a', { privateIpAddress: '10.0.0.9' });
      const outcome = await world.store.update(hold, changed, signal);
      assert.equal(outcome.kind, 'written');
      const { entry } = await world.store.readOne(id, signal);
      assert.equal(entry?.record.privateIpAddress, '10.0.0.9');
      assert.equal(entry?.presence?.session, 'session-a');
    });

    it('lets a session that lost its lease register again', async () => {
      const { hold } = heldBy(await register('session-a'));
      await until(
        async () => (await world.store.renew(gone(hold), signal)).kind === 'lost' && (await stateOf()) === 'lost',
        'it is lost',
      );
      heldBy(await register('session-a', { takeover: false }));
      assert.equal(await stateOf(), 'present');
    });

    it('lets a session whose registration got no answer register again and keep only the newer hold', async () => {
      const first = heldBy(await register('session-a'));
      const second = heldBy(await register('session-a', { takeover: false }));
      assert.deepEqual(await world.store.renew(second.hold, signal), { kind: 'renewed' });
      await until(async () => (await world.store.renew(first.hold, signal)).kind === 'lost', 'the older hold is over');
      assert.deepEqual(await world.store.update(first.hold, recordOf('session-a'), signal), { kind: 'lost' });
      assert.equal((await world.store.update(second.hold, recordOf('session-a'), signal)).kind, 'written');
    });

    it('says why a registration is not held, and nothing of one that is', async () => {
      const { hold } = heldBy(await register('session-a'));
      assert.equal(await world.store.notHeld(hold, signal), null);
      await world.kv.txn({ guards: [], puts: [], deletes: [`v1/records/${id}`], reads: [] }, signal);
      assert.deepEqual(await world.store.notHeld(hold, signal), { kind: 'lost' });
      heldBy(await register('session-b'));
      assert.deepEqual(await world.store.notHeld(hold, signal), { kind: 'superseded', by: 'session-b' });
    });

    it('takes a record that is not the one it wrote last for a lost registration, as after a restore', async () => {
      const { hold } = heldBy(await register('session-a'));
      const newer = { ...recordOf('session-a'), privateIpAddress: '10.0.0.7' };
      assert.equal((await world.store.update(hold, newer, signal)).kind, 'written');
      assert.equal(await world.store.notHeld(hold, signal), null);
      const broken = new AbortController();
      const watching = world.store.untilNotHeld(hold, broken.signal);
      broken.abort(new Error('the store stopped'));
      await assert.rejects(watching, /the store stopped/);
      const older = { key: `v1/records/${id}`, value: encodeRecord(recordOf('session-a')), lease: hold.retentionLease };
      await world.kv.txn({ guards: [], puts: [older], deletes: [], reads: [] }, signal);
      assert.deepEqual(await world.store.notHeld(hold, signal), { kind: 'lost' });
      assert.deepEqual(await world.store.untilNotHeld(hold, signal), { kind: 'lost' }, 'a watch that is begun anew');
      await world.store.update(hold, { ...newer, privateIpAddress: '10.0.0.8' }, signal);
      assert.equal(await world.store.notHeld(hold, signal), null);
    });

    it('tells a superseded session so, whatever it calls next', async () => {
      const { hold: old } = heldBy(await register('session-a'));
      const { hold: current } = heldBy(await register('session-b'));
      const superseded = { kind: 'superseded', by: 'session-b' };
      assert.deepEqual(await register('session-a', { takeover: false }), superseded);
      assert.deepEqual(await world.store.update(old, recordOf('session-a'), signal), superseded);
      assert.deepEqual(await world.store.depart(old, departureOf('session-a'), signal), superseded);
      const { entry } = await world.store.readOne(id, signal);
      assert.deepEqual([entry?.presence?.session, entry?.record.sidecar.session], ['session-b', 'session-b']);
      assert.equal(entry?.record.departure, null);
      assert.deepEqual(await world.store.renew(current, signal), { kind: 'renewed' });
      await until(async () => (await world.store.renew(old, signal)).kind === 'lost', 'its presence lease is ended');
    });

    it('keeps the session that started last, in whatever order they register', async () => {
      const since = (session: string, at: string) =>
        world.store.register({ ...registration(session), since: at }, recordOf(session), { takeover: true, signal });
      heldBy(await since('session-b', '2026-01-01T00:00:02.000Z'));
      const superseded = { kind: 'superseded', by: 'session-b' };
      assert.deepEqual(await since('session-a', '2026-01-01T01:00:01.000+01:00'), superseded);
      assert.equal((await world.store.readOne(id, signal)).entry?.record.sidecar.session, 'session-b');
      heldBy(await since('session-c', '2026-01-01T00:00:02Z'));
      heldBy(await since('session-d', '2026-01-01T00:00:03Z'));
      assert.equal((await world.store.readOne(id, signal)).entry?.record.sidecar.session, 'session-d');
    });

    it('lets a session replace the keys of an earlier one that a restored backup has brought back', async () => {
      const since = (session: string, at: string, takeover = true) =>
        world.store.register({ ...registration(session), since: at }, recordOf(session), { takeover, signal });
      heldBy(await since('session-a', '2026-01-01T00:00:01.000Z'));
      const reads = [`v1/presence/${id}`, `v1/records/${id}`];
      const backup = await world.kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
      const restore = async () => {
        const { lease } = await world.kv.grant(world.backend.ttlMs, signal);
        const puts = backup.reads.map((each, n) => ({ key: reads[n] ?? '', value: each?.value ?? '', lease }));
        await world.kv.txn({ guards: [], puts, deletes: [], reads: [] }, signal);
      };
      const young = '2026-01-01T00:00:02.000Z';
      let { hold } = heldBy(await since('session-b', young));
      const told = world.store.untilNotHeld(hold, signal);
      await restore();
      await world.backend.pass(1_000);
      assert.deepEqual(await told, { kind: 'lost' });
      assert.deepEqual(await world.store.notHeld(hold, signal), { kind: 'lost' });
      assert.deepEqual(await world.store.update(hold, recordOf('session-b'), signal), { kind: 'lost' });
      ({ hold } = heldBy(await since('session-b', young, false)));
      const { entry } = await world.store.readOne(id, signal);
      assert.deepEqual([entry?.presence?.session, entry?.record.sidecar.session], ['session-b', 'session-b']);
      const superseded = { kind: 'superseded', by: 'session-b' };
      assert.deepEqual(
        await since('session-a', '2026-01-01T00:00:01.000Z', false),
        superseded,
        'nor does it come back',
      );
      await restore();
      assert.equal((await world.store.depart(hold, departureOf('session-b'), signal)).kind, 'written');
      const left = await world.store.readOne(id, signal);
      assert.deepEqual([left.entry?.presence, left.entry?.record.sidecar.session], [null, 'session-b']);
      assert.equal(left.entry?.record.departure?.cause, 'stopped');
    });

    it('does not let an earlier session undo the departure of a later one', async () => {
      const { hold: old } = heldBy(await register('session-a'));
      const { hold: current } = heldBy(await register('session-b'));
      await world.store.depart(current, departureOf('session-b'), signal);
      assert.deepEqual(await world.store.depart(old, departureOf('session-a'), signal), { kind: 'lost' });
      assert.deepEqual(await world.store.update(old, recordOf('session-a'), signal), { kind: 'lost' });
      assert.equal((await world.store.readOne(id, signal)).entry?.record.sidecar.session, 'session-b');
    });

    it('departs once, however often the call is repeated', async () => {
      const { hold } = heldBy(await register('session-a'));
      const first = await world.store.depart(hold, departureOf('session-a'), signal);
      assert.equal(first.kind, 'written');
      assert.deepEqual(await world.store.depart(hold, departureOf('session-a'), signal), first);
      assert.equal(await stateOf(), 'departed');
      assert.deepEqual(await world.store.update(hold, recordOf('session-a'), signal), { kind: 'lost' });
    });

    it('tells a session at once that one of its keys was deleted, and lets it register again', async () => {
      for (const keys of [[`v1/presence/${id}`], [`v1/records/${id}`], [`v1/presence/${id}`, `v1/records/${id}`]]) {
        const { hold } = heldBy(await register('session-a'));
        const told = world.store.untilNotHeld(hold, signal);
        assert.deepEqual(await world.store.renew(hold, signal), { kind: 'renewed' });
        await world.store.update(hold, { ...recordOf('session-a'), privateIpAddress: '10.0.0.7' }, signal);
        await world.kv.txn({ guards: [], puts: [], deletes: keys, reads: [] }, signal);
        await world.backend.pass(1_000);
        assert.deepEqual(await told, { kind: 'lost' }, keys.join());
        assert.deepEqual(await world.store.untilNotHeld(hold, signal), { kind: 'lost' }, 'asked after it happened');
        heldBy(await register('session-a', { takeover: false }));
        assert.equal(await stateOf(), 'present');
      }
    });

    it('tells a session at once that another one has registered, and one that still is registered nothing', async () => {
      const { hold } = heldBy(await register('session-a'));
      const [asked, ended] = [new AbortController(), new Error('enough')];
      const watching = world.store.untilNotHeld(hold, asked.signal);
      await world.store.update(hold, { ...recordOf('session-a'), privateIpAddress: '10.0.0.7' }, signal);
      asked.abort(ended);
      await assert.rejects(watching, ended);
      const told = world.store.untilNotHeld(hold, signal);
      heldBy(await register('session-b'));
      await world.backend.pass(1_000);
      assert.deepEqual(await told, { kind: 'superseded', by: 'session-b' });
    });

    it('writes the departure of a node whose presence has already ended', async () => {
      const { hold } = heldBy(await register('session-a'));
      await until(async () => (await stateOf()) === 'lost', 'it is lost');
      assert.equal((await world.store.depart(hold, departureOf('session-a'), signal)).kind, 'written');
      assert.equal(await stateOf(), 'departed');
    });

    it('departs on a new retention lease if the old one is gone', async () => {
      const { hold } = heldBy(await register('session-a'));
      const bereft = { ...hold, retentionLease: gone(hold).presenceLease };
      assert.deepEqual(await world.store.update(bereft, recordOf('session-a'), signal), { kind: 'lost' });
      assert.equal((await world.store.depart(bereft, departureOf('session-a'), signal)).kind, 'written');
      const [stored] = (await world.kv.range({ prefix: 'v1/records/' }, signal)).kvs;
      const reads = [stored?.key ?? ''];
      const seen = await world.kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
      assert.notEqual(seen.reads[0]?.lease, '0');
      assert.equal(await stateOf(), 'departed');
    });

    it('registers exactly one of two sessions that register at the same time', async () => {
      const other = createRollStore(await world.backend.open());
      for (let round = 0; round < 5; round += 1) {
        const outcomes = await Promise.all([register(`a${round}`), register(`b${round}`, { by: other })]);
        const updates = await Promise.all(
          outcomes.map((outcome) =>
            outcome.kind === 'registered'
              ? world.store.update(
                  outcome.hold,
                  recordOf(outcome.hold.registration.session, { cluster: 'won' }),
                  signal,
                )
              : null,
          ),
        );
        const winners = outcomes.filter((_, i) => updates[i]?.kind === 'written');
        assert.equal(winners.length, 1);
        const { entry } = await world.store.readOne(id, signal);
        const winner = winners[0]?.kind === 'registered' ? winners[0].hold.registration.session : '';
        assert.deepEqual([entry?.presence?.session, entry?.record.sidecar.session], [winner, winner]);
      }
    });

    it('registers one of two sessions that do not take over', async () => {
      const other = createRollStore(await world.backend.open());
      const outcomes = await Promise.all([
        register('session-a', { takeover: false }),
        register('session-b', { takeover: false, by: other }),
      ]);
      assert.deepEqual(outcomes.map((outcome) => outcome.kind).sort(), ['registered', 'superseded']);
    });

    it('every call and every watch rejects with the reason of its signal', async () => {
      const reason = new Error('enough');
      const aborted = AbortSignal.abort(reason);
      const { hold, revision } = heldBy(await register('session-a'));
      const record = recordOf('session-a');
      for (const call of [
        world.store.register(registration('session-a'), record, { takeover: true, signal: aborted }),
        world.store.renew(hold, aborted),
        world.store.renewRetention(hold, aborted),
        world.store.update(hold, record, aborted),
        world.store.depart(hold, record, aborted),
        world.store.read(aborted),
        world.store.readOne(id, aborted),
      ]) {
        await assert.rejects(call, reason);
      }
      const follower = follow(world.store, revision);
      await world.backend.pass(300);
      assert.equal(await follower.stop(reason), reason);
      assert.equal(await stateOf(), 'present', 'nothing of it was done');
    });
  });
}
