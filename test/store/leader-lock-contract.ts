import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Kv } from '../../src/store/kv.ts';
import type { CampaignOutcome, Term } from '../../src/store/leader-lock.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import type { Store } from '../../src/store/store.ts';
import { StoreError } from '../../src/store/store-errors.ts';
import type { Backend } from './contract-world.ts';
import { slowWire } from './slow-wire.ts';

const { signal } = new AbortController();

/** The contract of `LeaderLocks`, the same for every kind of store. */
export function describeLeaderLockContract(kind: string, start: () => Promise<Backend>): void {
  describe(`the leader lock of ${kind}`, () => {
    let backend: Backend;
    let kv: Kv;
    let store: Store;

    beforeEach(async () => {
      backend = await start();
      kv = await backend.open();
      store = createRollStore(kv);
    });
    afterEach(() => backend.dispose());

    const campaign = (session: string, by = store) =>
      by.leaderLocks.campaign('audit', { session, instanceId: `i-of-${session}`, ttlMs: backend.ttlMs }, signal);
    const readLock = async () => {
      const { holder, documents } = await store.leaderLocks.read('audit', ['summary', 'report'], signal);
      return { holder: holder?.session ?? null, documents };
    };
    const revision = async () => (await store.leaderLocks.read('audit', [], signal)).revision;
    const untilFree = async () => {
      for (let passedMs = 0; (await readLock()).holder !== null; passedMs += 100) {
        assert.ok(passedMs < backend.ttlMs + 8_000, 'the lock is never free');
        await backend.pass(100);
      }
    };

    it('gives a free lock to exactly one of many candidates', async () => {
      const stores = [];
      for (let n = 0; n < 20; n += 1) stores.push(createRollStore(n < 3 ? await backend.open() : kv));
      const outcomes = await Promise.all(stores.map((each, n) => campaign(`s${n}`, each)));
      const elected = outcomes.flatMap((outcome) => (outcome.kind === 'elected' ? [outcome.term.session] : []));
      assert.equal(elected.length, 1);
      assert.equal((await readLock()).holder, elected[0]);
      for (const outcome of outcomes) {
        if (outcome.kind === 'taken')
          assert.deepEqual(outcome.by, { session: elected[0], instanceId: `i-of-${elected[0]}` });
      }
    });

    it('stays with its holder while it is renewed, without a revision, and is free after that', async () => {
      const term = termOf(await campaign('a'));
      const before = await revision();
      for (let passedMs = 0; passedMs < 2 * backend.ttlMs; passedMs += 250) {
        await backend.pass(250);
        assert.equal(await store.leaderLocks.renew(term, signal), 'renewed');
        assert.equal((await campaign('b')).kind, 'taken');
      }
      assert.equal(await revision(), before);
      await untilFree();
      assert.equal(await store.leaderLocks.renew(term, signal), 'lost');
      assert.equal((await campaign('b')).kind, 'elected');
    });

    it('writes all that the holder publishes, or nothing', async () => {
      const term = termOf(await campaign('a'));
      assert.deepEqual(await readLock(), { holder: 'a', documents: [null, null] });
      assert.equal((await store.leaderLocks.publish(term, { summary: 's1', report: 'r1' }, signal)).kind, 'published');
      assert.equal((await store.leaderLocks.publish(term, { summary: 's2' }, signal)).kind, 'published');
      assert.deepEqual(await readLock(), { holder: 'a', documents: ['s2', 'r1'] });
      assert.deepEqual((await store.read(signal)).skipped, [], 'the roll does not contain them');
    });

    it('removes a document, lists those of a kind, and keeps publications with another main document apart', async () => {
      const term = termOf(await campaign('a'));
      const { publish, list } = store.leaderLocks;
      const kinds = { 'nodes/1': 'one', 'nodes/2': 'two', 'nodes/3': 'three' };
      const outcomes = await Promise.all([
        publish(term, { summary: 's1' }, signal),
        publish(term, { nodes: '1', ...kinds }, signal, { main: 'nodes' }),
      ]);
      assert.deepEqual(new Set(outcomes.map(({ kind }) => kind)), new Set(['published']));
      await publish(term, { nodes: '2', 'nodes/2': null, 'nodes/3': 'third' }, signal, { main: 'nodes' });
      const listed = await list('audit', 'nodes/', signal);
      assert.deepEqual(
        [...listed],
        [
          ['1', 'one'],
          ['3', 'third'],
        ],
      );
      assert.deepEqual((await readLock()).documents[0], 's1');
      assert.equal((await list('audit', 'none/', signal)).size, 0);
    });

    it('refuses a late publication of an earlier term and keeps that of the present term', async () => {
      const earlier = termOf(await campaign('a'));
      await untilFree();
      assert.deepEqual(await store.leaderLocks.publish(earlier, { summary: 'late' }, signal), {
        kind: 'lost',
        by: null,
      });
      const present = termOf(await campaign('b'));
      await store.leaderLocks.publish(present, { summary: 'new' }, signal);
      const outcome = await store.leaderLocks.publish(earlier, { summary: 'later still' }, signal);
      assert.deepEqual(outcome, { kind: 'lost', by: { session: 'b', instanceId: 'i-of-b' } });
      assert.deepEqual((await readLock()).documents, ['new', null]);
    });

    it('fences a term whose revision is that of another term, as after the restore of a backup', async () => {
      const before = termOf(await campaign('a'));
      await store.leaderLocks.resign(before, signal);
      const { revision } = termOf(await campaign('b'));
      const late = { ...before, revision };
      assert.equal((await store.leaderLocks.publish(late, { summary: 'of a' }, signal)).kind, 'lost');
      assert.equal(await store.leaderLocks.renew(late, signal), 'lost');
      await store.leaderLocks.resign(late, signal);
      assert.deepEqual(await readLock(), { holder: 'b', documents: [null, null] });
    });

    it('tells two terms of one session apart', async () => {
      const first = termOf(await campaign('a'));
      await store.leaderLocks.resign(first, signal);
      const second = termOf(await campaign('a'));
      assert.equal((await store.leaderLocks.publish(first, { summary: 'of the first' }, signal)).kind, 'lost');
      assert.equal((await store.leaderLocks.publish(second, { summary: 'of the second' }, signal)).kind, 'published');
    });

    it('is free at once when its holder resigns; a late resignation does not end the next term', async () => {
      const first = termOf(await campaign('a'));
      await store.leaderLocks.resign(first, signal);
      assert.equal((await readLock()).holder, null);
      termOf(await campaign('b'));
      await store.leaderLocks.resign(first, signal);
      assert.equal((await readLock()).holder, 'b');
    });

    it('a renewal finds that the key was deleted', async () => {
      const term = termOf(await campaign('a'));
      const key = 'coordination/v1/audit/leader';
      await kv.txn({ guards: [], puts: [], deletes: [key], reads: [] }, signal);
      assert.equal(await store.leaderLocks.renew(term, signal), 'lost');
    });

    it('readers of the roll are not sent its keys', async () => {
      await store.leaderLocks.publish(
        termOf(await campaign('a')),
        { summary: 's', details: 'd'.repeat(100_000) },
        signal,
      );
      const sent: string[] = [];
      const range: Kv['range'] = async (query, by) => {
        const page = await kv.range(query, by);
        sent.push(...page.kvs.map(({ key }) => key));
        return page;
      };
      const reader = createRollStore({ ...kv, range });
      for (const hurry of [false, true]) assert.deepEqual((await reader.read(signal, { hurry })).skipped, []);
      assert.deepEqual(sent, []);
    });

    it('a value that is not from rollcall counts as another holder', async () => {
      for (const value of ['junk', '{}', 'null']) {
        const puts = [{ key: 'coordination/v1/audit/leader', value, lease: '0' }];
        await kv.txn({ guards: [], puts, deletes: [], reads: [] }, signal);
        assert.deepEqual(await campaign('a'), { kind: 'taken', by: { session: 'unknown', instanceId: null } });
      }
    });

    it('continues after an election and a publication whose answers were lost', async () => {
      const wire = slowWire(kv);
      const unlucky = createRollStore(wire.kv);
      wire.loseNextAnswer();
      await assert.rejects(campaign('a', unlucky), StoreError);
      assert.equal((await campaign('b')).kind, 'taken');
      const term = termOf(await campaign('a', unlucky));
      assert.equal(await unlucky.leaderLocks.renew(term, signal), 'renewed');
      wire.loseNextAnswer();
      await assert.rejects(unlucky.leaderLocks.publish(term, { summary: 's1' }, signal), StoreError);
      const written = await revision();
      assert.equal((await unlucky.leaderLocks.publish(term, { summary: 's1' }, signal)).kind, 'published');
      assert.equal(await revision(), written, 'it was there already');
    });

    it('an earlier publication of the same term never overwrites a later one', async () => {
      const wire = slowWire(kv);
      const slow = createRollStore(wire.kv);
      const term = termOf(await campaign('a', slow));
      await slow.leaderLocks.publish(term, { summary: 's0' }, signal);
      wire.keepNext();
      await assert.rejects(slow.leaderLocks.publish(term, { summary: 's1' }, signal), StoreError);
      assert.equal((await slow.leaderLocks.publish(term, { summary: 's2' }, signal)).kind, 'published');
      assert.deepEqual(
        (await wire.deliver()).map(({ succeeded }) => succeeded),
        [false],
      );
      assert.equal((await readLock()).documents[0], 's2');
    });
  });
}

function termOf(outcome: CampaignOutcome): Term {
  if (outcome.kind !== 'elected') assert.fail(JSON.stringify(outcome));
  return outcome.term;
}
