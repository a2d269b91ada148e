import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { encodePresence, encodeRecord } from '../../src/record/codec.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { presenceState } from '../../src/record/roll.ts';
import type { Kv, RangePage } from '../../src/store/kv.ts';
import { MAX_ASKED_PRESENCES, MAX_SKIPPED } from '../../src/store/read-roll.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import type { Hold, RegisterOutcome, Registration, Store } from '../../src/store/store.ts';
import { CompactedError, StoreError } from '../../src/store/store-errors.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { type Follower, follow } from './follow.ts';
import { describeLeaderLockContract } from './leader-lock-contract.ts';

/** An empty store of one kind, and what the suite does to it beside the contract. */
export interface Backend {
  /** The shortest presence TTL that the store grants as asked. */
  readonly ttlMs: number;
  /** Another client of the same store, as another process would be. */
  open(): Promise<Kv>;
  /** Lets `ms` go by: really, or on a simulated clock. */
  pass(ms: number): Promise<void>;
  /** Makes all changes up to now unavailable to watchers and readers of the past. */
  compact(): Promise<void>;
  /** Closes all clients. */
  dispose(): Promise<void>;
}

/** The promises of `Store`, for every kind of store alike. */
export function describeStoreContract(kind: string, start: () => Promise<Backend>): void {
  describeLeaderLockContract(kind, start);
  describe(`the store contract on ${kind}`, () => {
    const { signal } = new AbortController();
    const followers: Follower[] = [];
    let backend: Backend;
    let kv: Kv;
    let store: Store;

    beforeEach(async () => {
      backend = await start();
      kv = await backend.open();
      store = createRollStore(kv);
    });

    afterEach(async () => {
      for (const follower of followers.splice(0)) await follower.stop();
      await backend.dispose();
    });

    const id = sampleInstanceId();
    const registration = (session: string, instanceId = id): Registration => ({
      instanceId,
      session,
      since: '2026-01-01T00:00:00.000Z',
      ttlMs: backend.ttlMs,
      retentionMs: 3_600_000,
    });
    const recordOf = (session: string, overrides: Partial<NodeRecord> = {}) =>
      sampleRecord({ sidecar: { version: '0.1.0', session }, ...overrides });
    const register = async (session: string, options: { takeover?: boolean; by?: Store; instanceId?: string } = {}) => {
      const { takeover = true, by = store, instanceId = id } = options;
      const record = recordOf(session, { ec2InstanceId: instanceId });
      return by.register(registration(session, instanceId), record, { takeover, signal });
    };
    const departureOf = (session: string) =>
      recordOf(session, { departure: { cause: 'stopped', at: '2026-01-01T01:00:00.000Z' } });
    const stateOf = async (instanceId = id) => {
      const { entry } = await store.readOne(instanceId, signal);
      return entry && presenceState(entry);
    };
    const followFrom = (revision: string, by = store) => {
      const follower = follow(by, revision);
      followers.push(follower);
      return follower;
    };
    /** Lets time pass until `condition` holds; the limit is the TTL and the second that a reader may assume, and slack for a busy machine. */
    const until = async (condition: () => boolean | Promise<boolean>, what: string) => {
      for (let passedMs = 0; !(await condition()); passedMs += 100) {
        if (passedMs > backend.ttlMs + 8_000)
          assert.fail(`still not: ${what} (watches: ${followers.map(({ error }) => error())})`);
        await backend.pass(100);
      }
    };
    const raw = (key: string, value: string) =>
      kv.txn({ guards: [], puts: [{ key, value, lease: '0' }], deletes: [], reads: [] }, signal);

    it('shows record and presence of a node that registered', async () => {
      const outcome = await register('session-a');
      const { instanceId: _, ...expected } = registration('session-a');
      assert.equal(outcome.kind, 'registered');
      const roll = await store.read(signal);
      const presence = { session: 'session-a', since: expected.since, ttlSeconds: expected.ttlMs / 1_000 };
      assert.deepEqual(roll.entries, [{ record: recordOf('session-a'), presence }]);
      assert.deepEqual(roll.skipped, []);
      assert.ok(BigInt(roll.revision) >= BigInt(heldBy(outcome).revision));
    });

    it('starts empty, at a revision from which a watch can start', async () => {
      const roll = await store.read(signal);
      assert.deepEqual([roll.entries, roll.skipped], [[], []]);
      assert.deepEqual(await store.readOne(id, signal), { revision: roll.revision, entry: null, skipped: [] });
      const follower = followFrom(roll.revision);
      await register('session-a');
      await until(() => follower.changes().length > 0, 'a change is seen');
    });

    it('shows a registration and a departure to a watcher as one batch each', async () => {
      const { revision } = await store.read(signal);
      const follower = followFrom(revision);
      const { hold, revision: registeredAt } = heldBy(await register('session-a'));
      const departed = await store.depart(hold, departureOf('session-a'), signal);
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

    it('replaces the record of a node whose presence is held', async () => {
      const { hold } = heldBy(await register('session-a'));
      const changed = recordOf('session-a', { privateIpAddress: '10.0.0.9' });
      const outcome = await store.update(hold, changed, signal);
      assert.equal(outcome.kind, 'written');
      const { entry } = await store.readOne(id, signal);
      assert.equal(entry?.record.privateIpAddress, '10.0.0.9');
      assert.equal(entry?.presence?.session, 'session-a');
    });

    it('keeps a node present while it sends heartbeats, without a revision', async () => {
      const { hold, revision } = heldBy(await register('session-a'));
      for (let heartbeat = 0; heartbeat < 6; heartbeat += 1) {
        await backend.pass(backend.ttlMs / 3);
        assert.deepEqual(await store.renew(hold, signal), { kind: 'renewed' });
        assert.deepEqual(await store.renewRetention(hold, signal), { kind: 'renewed' });
      }
      const roll = await store.read(signal);
      assert.equal(roll.revision, revision);
      assert.equal(roll.entries[0]?.presence?.session, 'session-a');
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
      assert.deepEqual(await store.renew(hold, signal), { kind: 'lost' });
      assert.deepEqual(await store.update(hold, recordOf('session-a'), signal), { kind: 'lost' });
    });

    it('lets a session that lost its lease register again', async () => {
      const { hold } = heldBy(await register('session-a'));
      await until(
        async () => (await store.renew(gone(hold), signal)).kind === 'lost' && (await stateOf()) === 'lost',
        'it is lost',
      );
      heldBy(await register('session-a', { takeover: false }));
      assert.equal(await stateOf(), 'present');
    });

    it('lets a session whose registration got no answer register again and keep only the newer hold', async () => {
      const first = heldBy(await register('session-a'));
      const second = heldBy(await register('session-a', { takeover: false }));
      assert.deepEqual(await store.renew(second.hold, signal), { kind: 'renewed' });
      await until(async () => (await store.renew(first.hold, signal)).kind === 'lost', 'the older hold is over');
      assert.deepEqual(await store.update(first.hold, recordOf('session-a'), signal), { kind: 'lost' });
      assert.equal((await store.update(second.hold, recordOf('session-a'), signal)).kind, 'written');
    });

    it('grants one lease however often a grant with its name is repeated, and a new one after its end', async () => {
      const lease = kv.leaseOf('some name');
      assert.notEqual(kv.leaseOf('other name'), lease);
      assert.deepEqual(await kv.grant(60_000, signal, lease), { lease, ttlMs: 60_000 });
      assert.deepEqual(await (await backend.open()).grant(90_000, signal, lease), { lease, ttlMs: 60_000 });
      await kv.releaseEmpty(lease, signal);
      assert.equal(await kv.keepAlive(lease, signal), false);
      assert.deepEqual(await kv.grant(90_000, signal, lease), { lease, ttlMs: 90_000 });
    });

    it('keeps the retention lease of a node from one session to the next', async () => {
      const first = heldBy(await register('session-a')).hold;
      await store.depart(first, departureOf('session-a'), signal);
      const second = heldBy(await register('session-b')).hold;
      assert.equal(second.retentionLease, first.retentionLease);
      const other = heldBy(await register('session-a', { instanceId: sampleInstanceId(1) })).hold;
      assert.notEqual(other.retentionLease, first.retentionLease);
    });

    it('keeps no record on a lease that another client granted under its name, for a shorter time', async () => {
      const guessed = kv.leaseOf(`retention ${id} 3600000`);
      await kv.grant(backend.ttlMs, signal, guessed);
      const { hold } = heldBy(await register('session-a'));
      assert.notEqual(hold.retentionLease, guessed);
      const [time] = await kv.remaining([hold.retentionLease], signal);
      assert.equal(time?.grantedMs, 3_600_000);
      const { entry } = await store.readOne(id, signal);
      assert.ok(entry);
    });

    it('says why a registration is not held, and nothing of one that is', async () => {
      const { hold } = heldBy(await register('session-a'));
      assert.equal(await store.notHeld(hold, signal), null);
      await kv.txn({ guards: [], puts: [], deletes: [`v1/records/${id}`], reads: [] }, signal);
      assert.deepEqual(await store.notHeld(hold, signal), { kind: 'lost' });
      heldBy(await register('session-b'));
      assert.deepEqual(await store.notHeld(hold, signal), { kind: 'superseded', by: 'session-b' });
    });

    it('estimates how many other nodes there are from those that share the first digits of the id', async () => {
      assert.equal(await store.otherNodes('i-0ab00000000000000', signal), 0);
      for (const n of [0, 1, 2]) await raw(`v1/records/i-0ab0000000000000${n}`, '{}');
      await raw('v1/records/i-0ac00000000000000', '{}');
      assert.equal(await store.otherNodes('i-0ab00000000000000', signal), 512);
      assert.equal(await store.otherNodes('i-0ac00000000000000', signal), 0, 'itself');
      assert.equal(await store.otherNodes('mi-0ad0000000000000', signal), 0);
    });

    it('tells a superseded session so, whatever it calls next', async () => {
      const { hold: old } = heldBy(await register('session-a'));
      const { hold: current } = heldBy(await register('session-b'));
      const superseded = { kind: 'superseded', by: 'session-b' };
      assert.deepEqual(await register('session-a', { takeover: false }), superseded);
      assert.deepEqual(await store.update(old, recordOf('session-a'), signal), superseded);
      assert.deepEqual(await store.depart(old, departureOf('session-a'), signal), superseded);
      const { entry } = await store.readOne(id, signal);
      assert.deepEqual([entry?.presence?.session, entry?.record.sidecar.session], ['session-b', 'session-b']);
      assert.equal(entry?.record.departure, null);
      assert.deepEqual(await store.renew(current, signal), { kind: 'renewed' });
      await until(async () => (await store.renew(old, signal)).kind === 'lost', 'its presence lease is ended');
    });

    it('keeps the session that started last, in whatever order they register', async () => {
      const since = (session: string, at: string) =>
        store.register({ ...registration(session), since: at }, recordOf(session), { takeover: true, signal });
      heldBy(await since('session-b', '2026-01-01T00:00:02.000Z'));
      const superseded = { kind: 'superseded', by: 'session-b' };
      assert.deepEqual(await since('session-a', '2026-01-01T01:00:01.000+01:00'), superseded);
      assert.equal((await store.readOne(id, signal)).entry?.record.sidecar.session, 'session-b');
      heldBy(await since('session-c', '2026-01-01T00:00:02Z'));
      heldBy(await since('session-d', '2026-01-01T00:00:03Z'));
      assert.equal((await store.readOne(id, signal)).entry?.record.sidecar.session, 'session-d');
    });

    it('does not let an earlier session undo the departure of a later one', async () => {
      const { hold: old } = heldBy(await register('session-a'));
      const { hold: current } = heldBy(await register('session-b'));
      await store.depart(current, departureOf('session-b'), signal);
      assert.deepEqual(await store.depart(old, departureOf('session-a'), signal), {
        kind: 'superseded',
        by: 'session-b',
      });
      assert.deepEqual(await store.update(old, recordOf('session-a'), signal), { kind: 'lost' });
      assert.equal((await store.readOne(id, signal)).entry?.record.sidecar.session, 'session-b');
    });

    it('departs once, however often the call is repeated', async () => {
      const { hold } = heldBy(await register('session-a'));
      const first = await store.depart(hold, departureOf('session-a'), signal);
      assert.equal(first.kind, 'written');
      assert.deepEqual(await store.depart(hold, departureOf('session-a'), signal), first);
      assert.equal(await stateOf(), 'departed');
      assert.deepEqual(await store.update(hold, recordOf('session-a'), signal), { kind: 'lost' });
    });

    it('tells a session at once that one of its keys was deleted, and lets it register again', async () => {
      for (const keys of [[`v1/presence/${id}`], [`v1/records/${id}`], [`v1/presence/${id}`, `v1/records/${id}`]]) {
        const { hold } = heldBy(await register('session-a'));
        const told = store.untilNotHeld(hold, signal);
        assert.deepEqual(await store.renew(hold, signal), { kind: 'renewed' });
        await store.update(hold, { ...recordOf('session-a'), privateIpAddress: '10.0.0.7' }, signal);
        await kv.txn({ guards: [], puts: [], deletes: keys, reads: [] }, signal);
        await backend.pass(1_000);
        assert.deepEqual(await told, { kind: 'lost' }, keys.join());
        assert.deepEqual(await store.untilNotHeld(hold, signal), { kind: 'lost' }, 'asked after it happened');
        heldBy(await register('session-a', { takeover: false }));
        assert.equal(await stateOf(), 'present');
      }
    });

    it('tells a session at once that another one has registered, and one that still is registered nothing', async () => {
      const { hold } = heldBy(await register('session-a'));
      const [asked, ended] = [new AbortController(), new Error('enough')];
      const watching = store.untilNotHeld(hold, asked.signal);
      await store.update(hold, { ...recordOf('session-a'), privateIpAddress: '10.0.0.7' }, signal);
      asked.abort(ended);
      await assert.rejects(watching, ended);
      const told = store.untilNotHeld(hold, signal);
      heldBy(await register('session-b'));
      await backend.pass(1_000);
      assert.deepEqual(await told, { kind: 'superseded', by: 'session-b' });
    });

    it('writes the departure of a node whose presence has already ended', async () => {
      const { hold } = heldBy(await register('session-a'));
      await until(async () => (await stateOf()) === 'lost', 'it is lost');
      assert.equal((await store.depart(hold, departureOf('session-a'), signal)).kind, 'written');
      assert.equal(await stateOf(), 'departed');
    });

    it('departs on a new retention lease if the old one is gone', async () => {
      const { hold } = heldBy(await register('session-a'));
      const bereft = { ...hold, retentionLease: gone(hold).presenceLease };
      assert.deepEqual(await store.update(bereft, recordOf('session-a'), signal), { kind: 'lost' });
      assert.equal((await store.depart(bereft, departureOf('session-a'), signal)).kind, 'written');
      const [stored] = (await kv.range({ prefix: 'v1/records/' }, signal)).kvs;
      const reads = [stored?.key ?? ''];
      const seen = await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
      assert.notEqual(seen.reads[0]?.lease, '0');
      assert.equal(await stateOf(), 'departed');
    });

    it('forgets a node when its retention runs out, and tells watchers', async () => {
      const short = { ...registration('session-a'), retentionMs: backend.ttlMs };
      const outcome = await store.register(short, recordOf('session-a'), { takeover: true, signal });
      const follower = followFrom(heldBy(outcome).revision);
      await until(() => follower.changes().length >= 2, 'both keys go');
      assert.deepEqual(
        follower
          .changes()
          .map((change) => change.kind)
          .sort(),
        ['presence', 'record'],
      );
      assert.deepEqual((await store.read(signal)).entries, []);
    });

    it('registers exactly one of two sessions that register at the same time', async () => {
      const other = createRollStore(await backend.open());
      for (let round = 0; round < 5; round += 1) {
        const outcomes = await Promise.all([register(`a${round}`), register(`b${round}`, { by: other })]);
        const updates = await Promise.all(
          outcomes.map((outcome) =>
            outcome.kind === 'registered'
              ? store.update(outcome.hold, recordOf(outcome.hold.registration.session, { cluster: 'won' }), signal)
              : null,
          ),
        );
        const winners = outcomes.filter((_, i) => updates[i]?.kind === 'written');
        assert.equal(winners.length, 1);
        const { entry } = await store.readOne(id, signal);
        const winner = winners[0]?.kind === 'registered' ? winners[0].hold.registration.session : '';
        assert.deepEqual([entry?.presence?.session, entry?.record.sidecar.session], [winner, winner]);
      }
    });

    it('registers one of two sessions that do not take over', async () => {
      const other = createRollStore(await backend.open());
      const outcomes = await Promise.all([
        register('session-a', { takeover: false }),
        register('session-b', { takeover: false, by: other }),
      ]);
      assert.deepEqual(outcomes.map((outcome) => outcome.kind).sort(), ['registered', 'superseded']);
    });

    it('has one id for all its readers', async () => {
      const id = await store.id(signal);
      assert.match(id, /^[0-9a-f]{8,}(\/[\w.-]+)*$/);
      assert.equal(await createRollStore(await backend.open()).id(signal), id);
      await register('session-a');
      assert.equal(await store.id(signal), id, 'it does not change with what is in it');
    });

    it('counts nodes that missed a heartbeat as overdue, without a revision', async () => {
      const ids = [0, 1, 2].map(sampleInstanceId);
      // Between being overdue and being lost lies half a TTL, in which a busy machine must get its turn.
      const ttlMs = 4 * backend.ttlMs;
      const holds: Hold[] = [];
      for (const instanceId of ids) {
        const record = recordOf('session-a', { ec2InstanceId: instanceId });
        const outcome = await store.register({ ...registration('session-a', instanceId), ttlMs }, record, {
          takeover: true,
          signal,
        });
        holds.push(heldBy(outcome).hold);
      }
      const heartbeat = (some: readonly Hold[]) => Promise.all(some.map((hold) => store.renew(hold, signal)));
      await heartbeat(holds);
      const { revision } = await store.read(signal);
      assert.deepEqual(await store.overdue(ids, signal), { asked: 3, overdue: 0 });
      const other = createRollStore(await backend.open());
      let counted = await other.overdue(ids, signal);
      for (let passedMs = 0; counted.overdue === 0; passedMs += 100) {
        assert.ok(passedMs < ttlMs, 'still not overdue');
        await backend.pass(100);
        await heartbeat(holds.slice(1));
        counted = await other.overdue(ids, signal);
      }
      assert.deepEqual(counted, { asked: 3, overdue: 1 });
      assert.equal(await stateOf(ids[0]), 'present', 'it is late and not lost');
      assert.equal((await store.read(signal)).revision, revision);
    });

    it('counts a node whose presence is gone as overdue, and ignores a presence without a lease', async () => {
      const { hold } = heldBy(await register('session-a'));
      await raw(`v1/presence/${sampleInstanceId(1)}`, 'by hand');
      const ids = [0, 1, 2].map(sampleInstanceId);
      assert.deepEqual(await store.overdue(ids, signal), { asked: 2, overdue: 1 });
      await store.depart(hold, departureOf('session-a'), signal);
      assert.deepEqual(await store.overdue(ids, signal), { asked: 2, overdue: 2 });
      assert.deepEqual(await store.overdue([], signal), { asked: 0, overdue: 0 });
    });

    it('reads only the first `MAX_ASKED_PRESENCES` presences', async () => {
      const { lease } = await kv.grant(30_000, signal);
      const ids = Array.from({ length: MAX_ASKED_PRESENCES + 8 }, (_, n) => sampleInstanceId(n));
      const puts = ids.slice(8).map((instanceId) => ({ key: `v1/presence/${instanceId}`, value: 'x', lease }));
      await kv.txn({ guards: [], puts, deletes: [], reads: [] }, signal);
      assert.deepEqual(await store.overdue(ids, signal), { asked: MAX_ASKED_PRESENCES, overdue: 8 });
    });

    it('returns the remaining time of each lease, and null for one that is gone', async () => {
      const [long, short] = [await kv.grant(60_000, signal), await kv.grant(backend.ttlMs, signal)];
      const [, none, left] = await kv.remaining([short.lease, '4343', long.lease], signal);
      assert.equal(none, null);
      assert.equal(left?.grantedMs, 60_000);
      assert.ok(left.remainingMs > 55_000 && left.remainingMs <= 60_000, `${left.remainingMs} ms`);
      await until(async () => (await kv.remaining([short.lease], signal))[0] === null, 'the short one is gone');
    });

    it('leaves no lease behind when it refuses or replaces a registration', async () => {
      const granted: string[] = [];
      const spying: Kv = Object.assign(Object.create(kv), {
        grant: async (...asked: Parameters<Kv['grant']>) => {
          const answer = await kv.grant(...asked);
          granted.push(answer.lease);
          return answer;
        },
      });
      const spied = createRollStore(spying);
      await register('session-a', { by: spied });
      await register('session-b', { by: spied });
      await register('session-a', { by: spied, takeover: false });
      let alive: boolean[] = [];
      await until(async () => {
        alive = await Promise.all(granted.map((lease) => kv.keepAlive(lease, signal)));
        return alive.filter(Boolean).length <= 2;
      }, 'unused leases are ended');
      // The presence leases of the three, and after the first one the node's retention lease.
      assert.deepEqual(alive, [false, true, true, false], 'the second hold is the one that counts');
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
      const { entries, skipped } = await store.read(signal);
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
      const one = await store.readOne(sampleInstanceId(1), signal);
      assert.deepEqual([one.entry, one.skipped[0]?.reason], [null, 'not JSON']);
    });

    it('names at most `MAX_SKIPPED` unreadable keys, and counts the rest', async () => {
      for (let n = 0; n < MAX_SKIPPED + 7; n += 1) await raw(`v1/junk/${n}`, 'x');
      const { skipped } = await store.read(signal);
      assert.equal(skipped.length, MAX_SKIPPED + 1);
      assert.match(skipped.at(-1)?.reason ?? '', /^7 more keys/);
    });

    it('shows a watcher a record that became unreadable as gone and skipped, and continues', async () => {
      const { hold, revision } = heldBy(await register('session-a'));
      const follower = followFrom(revision);
      await raw(`v1/records/${id}`, 'junk');
      await raw('v1/other', 'x');
      await store.update(hold, recordOf('session-a'), signal);
      await until(() => follower.withChanges().length >= 3, 'three batches');
      await kv.txn({ guards: [], puts: [], deletes: ['v1/other'], reads: [] }, signal);
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
      const { revision } = await store.read(signal);
      const whole = followFrom(revision);
      const { hold } = heldBy(await register('session-a'));
      for (let n = 1; n <= 5; n += 1) {
        await store.update(hold, recordOf('session-a', { privateIpAddress: `10.0.0.${n}` }), signal);
      }
      await store.depart(hold, departureOf('session-a'), signal);
      await until(() => whole.withChanges().length >= 7, 'seven batches');
      const batches = whole.withChanges();
      for (const [index, { revision: at }] of batches.entries()) {
        const rest = batches.slice(index + 1);
        const resumed = followFrom(at, createRollStore(kv));
        if (rest.length > 0) await until(() => resumed.withChanges().length >= rest.length, 'the rest is seen');
        assert.deepEqual(resumed.withChanges(), rest);
        await resumed.stop();
      }
    });

    it('confirms to a watcher without changes that it is up to date', async () => {
      const { revision } = await store.read(signal);
      const follower = followFrom(revision);
      let waitedMs = 0;
      for (; follower.batches.length === 0 && waitedMs <= 10_000; waitedMs += 250) await backend.pass(250);
      assert.deepEqual(follower.batches[0], { revision, changes: [] });
    });

    it('says that changes were compacted, and lets the reader start over from a snapshot', async () => {
      const { revision } = await store.read(signal);
      const { hold } = heldBy(await register('session-a'));
      await store.update(hold, recordOf('session-a', { cluster: 'other' }), signal);
      await backend.compact();
      const error = await followFrom(revision).ended;
      assert.ok(error instanceof CompactedError, String(error));
      const roll = await store.read(signal);
      assert.equal(roll.entries[0]?.record.cluster, 'other');
      const follower = followFrom(roll.revision);
      await store.depart(hold, departureOf('session-a'), signal);
      await until(() => follower.changes().length >= 2, 'the departure is seen');
    });

    it('lets two clients of one store see each other', async () => {
      const other = createRollStore(await backend.open());
      const follower = followFrom((await other.read(signal)).revision, other);
      await register('session-a');
      await register('session-b', { by: other, instanceId: sampleInstanceId(1) });
      await until(() => follower.changes().length >= 4, 'both registrations are seen');
      assert.deepEqual((await store.read(signal)).entries, (await other.read(signal)).entries);
      assert.equal((await store.read(signal)).entries.length, 2);
    });

    it('every call and every watch rejects with the reason of its signal', async () => {
      const reason = new Error('enough');
      const aborted = AbortSignal.abort(reason);
      const { hold, revision } = heldBy(await register('session-a'));
      const record = recordOf('session-a');
      for (const call of [
        store.register(registration('session-a'), record, { takeover: true, signal: aborted }),
        store.renew(hold, aborted),
        store.renewRetention(hold, aborted),
        store.update(hold, record, aborted),
        store.depart(hold, record, aborted),
        store.read(aborted),
        store.readOne(id, aborted),
      ]) {
        await assert.rejects(call, reason);
      }
      const follower = follow(store, revision);
      await backend.pass(300);
      assert.equal(await follower.stop(reason), reason);
      assert.equal(await stateOf(), 'present', 'nothing of it was done');
    });

    it('rejects calls after it was closed, and ends its watches', async () => {
      const other = createRollStore(await backend.open());
      const follower = follow(other, (await other.read(signal)).revision);
      await backend.pass(300);
      await other.close();
      assert.ok((await follower.ended) instanceof Error);
      await assert.rejects(other.read(signal), StoreError);
      assert.equal((await store.read(signal)).entries.length, 0, 'the other client still works');
    });

    it('lists 10,000 nodes in bounded pages at one revision, whatever is written or compacted meanwhile', async () => {
      const count = 10_000;
      await seed(kv, count, signal);
      const pages: RangePage[] = [];
      const disturbed = (afterPage: (pageNumber: number) => Promise<void>): Store =>
        createRollStore(
          Object.assign(Object.create(kv) as Kv, {
            range: async (...[query, rangeSignal]: Parameters<Kv['range']>) => {
              const page = await kv.range(query, rangeSignal);
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

      const before = await store.read(signal);
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
        await backend.compact();
      }).read(signal);
      assert.equal(restarted.entries.at(-1)?.record.cluster, 'again', 'compacted on the way, it starts over');

      await assert.rejects(
        disturbed(async () => {
          await overwrite('and again');
          await backend.compact();
        }).read(signal),
        (error) => error instanceof StoreError && error.retryable && !(error instanceof CompactedError),
      );
    });
  });
}

function heldBy(outcome: RegisterOutcome) {
  if (outcome.kind !== 'registered') assert.fail(`not registered: ${JSON.stringify(outcome)}`);
  return outcome;
}

/** The same hold on a lease that never was. */
function gone(hold: Hold): Hold {
  return { ...hold, presenceLease: '4242' };
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
