import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Departure, Interruption } from '../../src/record/record.ts';
import type { DrainClaim, HeldClaim, TakeOutcome } from '../../src/store/drain-slots.ts';
import { drainAdmissionKey, drainKey } from '../../src/store/keys.ts';
import type { Kv } from '../../src/store/kv.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import type { Hold, Store } from '../../src/store/store.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import type { Backend } from './contract-world.ts';

const { signal } = new AbortController();

/** The contract of `DrainSlots`, the same for every kind of store. */
export function describeDrainSlotsContract(kind: string, start: () => Promise<Pick<Backend, 'open' | 'dispose'>>) {
  describe(`drain slots on ${kind}`, () => {
    let backend: Awaited<ReturnType<typeof start>>;
    let kv: Kv;
    let store: Store;
    const holds = new Map<number, Hold>();
    beforeEach(async () => {
      backend = await start();
      kv = await backend.open();
      store = createRollStore(kv);
    });
    afterEach(() => backend.dispose());

    const register = async (count: number, cluster = 'demo', from = 0) => {
      for (let n = from; n < from + count; n += 1) {
        const instanceId = sampleInstanceId(n);
        const registration = { instanceId, session: `s${n}`, since: '2026-01-01T00:00:00Z', ttlMs: 60_000 };
        const record = sampleRecord({ ec2InstanceId: instanceId, cluster });
        const outcome = await store.register({ ...registration, retentionMs: 3_600_000 }, record, {
          takeover: true,
          signal,
        });
        if (outcome.kind !== 'registered') assert.fail(outcome.kind);
        holds.set(n, outcome.hold);
      }
    };
    const depart = async (n: number, cause: Departure['cause'], interruption: Interruption | null) => {
      const departure = { cause, at: '2026-01-01T01:00:00Z' };
      const record = sampleRecord({ ec2InstanceId: sampleInstanceId(n), interruption, departure });
      await store.depart(holds.get(n) ?? assert.fail(), record, signal);
    };
    const claimOf = (n: number, overrides: Partial<DrainClaim> = {}): DrainClaim => ({
      phase: 'claimed',
      arn: `arn:${n}`,
      cluster: 'demo',
      reason: 'spot-interruption: terminate',
      since: '2026-01-01T00:00:00Z',
      session: `s${n}`,
      ...overrides,
    });
    const take = (n: number, maxSharePercent = 10, by = store, cluster = 'demo') =>
      by.drainSlots.take({ instanceId: sampleInstanceId(n), claim: claimOf(n, { cluster }), maxSharePercent }, signal);
    const heldBy = (outcome: TakeOutcome) => (outcome.kind === 'taken' ? outcome.held : assert.fail(outcome.kind));
    /** As when the admission lock's lease ends. */
    const deleteLock = () =>
      kv.txn({ guards: [], puts: [], deletes: [drainAdmissionKey('demo', null)], reads: [] }, signal);

    it('lists the claims of all clusters', async () => {
      await register(2);
      await register(1, 'other', 2);
      assert.deepEqual(await store.drainSlots.list(signal), []);
      heldBy(await take(0));
      heldBy(await take(2, 10, store, 'other'));
      const listed = await store.drainSlots.list(signal);
      assert.deepEqual(
        listed.map(({ instanceId, claim }) => [instanceId, claim?.cluster]),
        [
          [sampleInstanceId(0), 'demo'],
          [sampleInstanceId(2), 'other'],
        ],
      );
    });

    it('gives one slot in a small cluster, and names the node that has it', async () => {
      await register(3);
      const held = heldBy(await take(0));
      assert.deepEqual(held.claim, claimOf(0));
      assert.deepEqual(await store.drainSlots.read(sampleInstanceId(0), signal), held);
      assert.equal(await store.drainSlots.read(sampleInstanceId(1), signal), null);
      const reason = `1 of 1 drain slots of demo are taken: ${sampleInstanceId(0)}`;
      const keeper = await take(1);
      assert.ok(keeper.kind === 'full' && keeper.keepsLockMs);
      assert.equal(keeper.reason, reason);
      // From the admission lock, which the second agent reads instead of the roll.
      assert.deepEqual(await take(2), { kind: 'full', reason, keepsLockMs: null });
    });

    it('a node that has a claim gets the same claim again', async () => {
      await register(1);
      const held = heldBy(await take(0));
      assert.deepEqual(await take(0), { kind: 'taken', held });
    });

    it('waiting agents that ask again write nothing; the holder of the admission lock sees the first change', async () => {
      await register(3);
      const held = heldBy(await take(0));
      await take(1);
      const { revision } = await store.read(signal);
      const reasons = new Set<string>();
      for (const n of [1, 2, 1, 2, 1]) {
        const outcome = await take(n);
        reasons.add(outcome.kind === 'full' ? outcome.reason : assert.fail(outcome.kind));
      }
      assert.equal(reasons.size, 1);
      assert.equal((await store.read(signal)).revision, revision);
      await store.drainSlots.giveBack(held, signal);
      assert.equal((await take(2)).kind, 'full', 'the lock still says so until its holder counts again');
      assert.equal((await take(1)).kind, 'taken');
      const next = await take(2);
      assert.ok(next.kind === 'full' && next.keepsLockMs && next.reason.includes(sampleInstanceId(1)));
    });

    it('an agent with a smaller share does not keep out the others', async () => {
      await register(20);
      heldBy(await take(0, 10));
      assert.equal((await take(1, 5)).kind, 'full');
      assert.equal((await take(2, 10)).kind, 'taken');
      assert.equal((await take(1, 5)).kind, 'full');
      assert.equal((await take(3, 10)).kind, 'full');
      assert.equal((await take(4, 10)).kind, 'full');
    });

    it('a slot that is given back goes to the next agent', async () => {
      await register(2);
      const held = heldBy(await take(0));
      await store.drainSlots.giveBack(held, signal);
      await store.drainSlots.giveBack(held, signal);
      assert.equal((await take(1)).kind, 'taken');
      assert.equal((await take(0)).kind, 'full');
    });

    it('gives as many slots as the share allows, counted for each cluster', async () => {
      await register(20);
      await register(9, 'other', 20);
      for (const n of [0, 1]) assert.equal((await take(n)).kind, 'taken');
      assert.equal((await take(2)).kind, 'full');
      assert.equal((await take(20, 10, store, 'other')).kind, 'taken');
      assert.equal((await take(21, 10, store, 'other')).kind, 'full');
    });

    it('does not count a node that left to be terminated, but counts one that only stopped', async () => {
      await register(3);
      heldBy(await take(0));
      await depart(0, 'stopped', null);
      assert.equal((await take(1)).kind, 'full');
      await deleteLock();
      await register(1);
      await depart(0, 'spot-interruption', { kind: 'spot-interruption', action: 'terminate', time: null });
      assert.equal((await take(1)).kind, 'taken');
    });

    it('does not count a forgotten node', async () => {
      await register(2);
      await kv.txn(
        {
          guards: [],
          puts: [{ key: drainKey('i-ffffffff'), value: JSON.stringify(claimOf(9)), lease: '0' }],
          deletes: [],
          reads: [],
        },
        signal,
      );
      assert.equal((await take(0)).kind, 'taken');
    });

    it('counts a lost node', async () => {
      await register(2);
      heldBy(await take(0));
      await kv.txn({ guards: [], puts: [], deletes: [`v1/presence/${sampleInstanceId(0)}`], reads: [] }, signal);
      assert.equal((await take(1)).kind, 'full');
    });

    it('replaces a claim on its lease, but not a claim that has changed', async () => {
      await register(2);
      const claimed = heldBy(await take(0));
      const held =
        (await store.drainSlots.replace(claimed, { ...claimed.claim, phase: 'asked' }, signal)) ?? assert.fail();
      const drained = await store.drainSlots.replace(held, { ...held.claim, phase: 'drained' }, signal);
      assert.equal(drained?.lease, held.lease);
      assert.deepEqual(await store.drainSlots.read(sampleInstanceId(0), signal), drained);
      assert.equal(await store.drainSlots.replace(held, { ...held.claim, phase: 'overruled' }, signal), null);
      assert.equal(await store.drainSlots.giveBack(held, signal), false);
      assert.deepEqual(await store.drainSlots.read(sampleInstanceId(0), signal), drained);
    });

    it('takes a slot whatever the share where none is named, but no claim of another', async () => {
      await register(2);
      heldBy(await take(0));
      assert.equal((await take(1)).kind, 'full');
      const claim = claimOf(1, { phase: 'manual' });
      const request = { instanceId: sampleInstanceId(1), claim, maxSharePercent: null };
      assert.equal(heldBy(await store.drainSlots.take(request, signal)).claim.phase, 'manual');
      const other = { ...request, claim: { ...claim, session: 'another' } };
      assert.equal(heldBy(await store.drainSlots.take(other, signal)).claim.session, claim.session);
    });

    it('takes a slot instead of the claim that is named, which stays where no slot is free or it has changed', async () => {
      await register(2);
      const first = heldBy(await take(0));
      const overruled = { ...first.claim, phase: 'overruled' as const, causes: ['critical'] };
      const insteadOf = (await store.drainSlots.replace(first, overruled, signal)) ?? assert.fail();
      const other = heldBy(await take(1));
      const claim = claimOf(0, { phase: 'manual', session: 'operator' });
      const request = { instanceId: sampleInstanceId(0), claim, maxSharePercent: 10, insteadOf };
      assert.equal((await store.drainSlots.take(request, signal)).kind, 'full');
      assert.deepEqual(await store.drainSlots.read(sampleInstanceId(0), signal), insteadOf);
      await store.drainSlots.giveBack(other, signal);
      const changed = { ...request, insteadOf: first };
      assert.deepEqual(heldBy(await store.drainSlots.take(changed, signal)), insteadOf);
      const taken = heldBy(await store.drainSlots.take(request, signal));
      assert.deepEqual([taken.claim, await store.drainSlots.read(sampleInstanceId(0), signal)], [claim, taken]);
    });

    it('keeps the claim of a node that may be drained for 7 days without a renewal, any other for 24 h, whatever it was before', async () => {
      await register(1);
      const daysLeft = async ({ lease }: HeldClaim) => {
        const [time] = await kv.remaining([lease], signal);
        return Math.round((time?.remainingMs ?? 0) / 86_400_000);
      };
      const claimed = heldBy(await take(0));
      const become = async (held: HeldClaim, phase: DrainClaim['phase']) =>
        (await store.drainSlots.replace(held, { ...held.claim, phase }, signal)) ?? assert.fail();
      const manual = await become(claimed, 'manual');
      const overruled = await become(manual, 'overruled');
      assert.deepEqual(await store.drainSlots.read(sampleInstanceId(0), signal), overruled);
      assert.equal(await store.drainSlots.replace(manual, claimed.claim, signal), null);
      assert.deepEqual([await daysLeft(overruled), overruled.lease === manual.lease], [1, false]);
      let now = overruled;
      for (const [phase, days] of [
        ['manual', 7],
        ['claimed', 1],
        ['asked', 7],
        ['drained', 7],
        ['activating', 7],
        ['overruled', 1],
      ] as const) {
        now = await become(now, phase);
        assert.equal(await daysLeft(now), days, phase);
      }
    });

    it('does not count an overruled claim', async () => {
      await register(2);
      const held = heldBy(await take(0));
      await store.drainSlots.replace(held, { ...held.claim, phase: 'overruled' }, signal);
      assert.equal((await take(1)).kind, 'taken');
    });

    it('renews the claim without a revision, and says when it is gone', async () => {
      await register(1);
      const held = heldBy(await take(0));
      const { revision } = await store.read(signal);
      assert.equal(await store.drainSlots.renew(held, signal), true);
      assert.equal((await store.read(signal)).revision, revision);
      await store.drainSlots.giveBack(held, signal);
      assert.equal(await store.drainSlots.replace(held, held.claim, signal), null);
    });

    it('the roll does not contain claims', async () => {
      await register(2);
      heldBy(await take(0));
      await take(1);
      const roll = await store.read(signal);
      assert.deepEqual([roll.entries.length, roll.skipped], [2, []]);
    });

    for (const [writers, slots] of [
      [2, 1],
      [20, 2],
    ] as const) {
      it(`gives ${slots} slots to ${writers} agents that race, never more`, async () => {
        await register(20);
        const clients = await Promise.all(
          Array.from({ length: writers }, async () => createRollStore(await backend.open())),
        );
        const share = writers === 2 ? 5 : 10;
        const taken = new Set<number>();
        for (let round = 0; round < 40 && taken.size < slots; round += 1) {
          const outcomes = await Promise.all(clients.map((client, n) => take(n, share, client)));
          for (const [n, { kind }] of outcomes.entries()) if (kind === 'taken') taken.add(n);
        }
        const claims = (await kv.range({ prefix: 'coordination/v1/drains/' }, signal)).kvs;
        assert.equal(claims.length, slots);
        assert.equal(taken.size, slots);
        await deleteLock();
        const late = await Promise.all(clients.map((client, n) => take(n, share, client)));
        assert.equal(late.filter(({ kind }) => kind === 'taken').length, slots, 'only the nodes that have a claim');
      });
    }
  });
}
