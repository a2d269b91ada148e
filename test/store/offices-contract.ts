import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { StoreError } from '../../src/store/errors.ts';
import type { Kv } from '../../src/store/kv.ts';
import { createRollStore } from '../../src/store/open-store.ts';
import type { CampaignOutcome, Reign, Store } from '../../src/store/store.ts';
import { slowWire } from './slow-wire.ts';
import type { Backend } from './store-contract.ts';

const { signal } = new AbortController();

/** The promises of `Offices`, for every kind of store alike. */
export function describeOfficesContract(kind: string, start: () => Promise<Backend>): void {
  describe(`the offices of ${kind}`, () => {
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
      by.offices.campaign('audit', { session, instanceId: `i-of-${session}`, ttlMs: backend.ttlMs }, signal);
    const look = async () => {
      const { holder, documents } = await store.offices.look('audit', ['summary', 'report'], signal);
      return { holder: holder?.session ?? null, documents };
    };
    const revision = async () => (await store.offices.look('audit', [], signal)).revision;
    const untilVacant = async () => {
      for (let passedMs = 0; (await look()).holder !== null; passedMs += 100) {
        assert.ok(passedMs < backend.ttlMs + 8_000, 'the office never falls vacant');
        await backend.pass(100);
      }
    };

    it('gives a vacant office to exactly one of many who ask at once', async () => {
      const stores = [];
      for (let n = 0; n < 20; n += 1) stores.push(createRollStore(n < 3 ? await backend.open() : kv));
      const outcomes = await Promise.all(stores.map((each, n) => campaign(`s${n}`, each)));
      const elected = outcomes.flatMap((outcome) => (outcome.kind === 'elected' ? [outcome.reign.session] : []));
      assert.equal(elected.length, 1);
      assert.equal((await look()).holder, elected[0]);
      for (const outcome of outcomes) {
        if (outcome.kind === 'taken')
          assert.deepEqual(outcome.by, { session: elected[0], instanceId: `i-of-${elected[0]}` });
      }
    });

    it('keeps it for as long as it is renewed, without a revision, and gives it away after that', async () => {
      const reign = reignOf(await campaign('a'));
      const before = await revision();
      for (let passedMs = 0; passedMs < 2 * backend.ttlMs; passedMs += 250) {
        await backend.pass(250);
        assert.equal(await store.offices.renew(reign, signal), 'renewed');
        assert.equal((await campaign('b')).kind, 'taken');
      }
      assert.equal(await revision(), before);
      await untilVacant();
      assert.equal(await store.offices.renew(reign, signal), 'deposed');
      assert.equal((await campaign('b')).kind, 'elected');
    });

    it('takes what the holder publishes, whole', async () => {
      const reign = reignOf(await campaign('a'));
      assert.deepEqual(await look(), { holder: 'a', documents: [null, null] });
      assert.equal((await store.offices.publish(reign, { summary: 's1', report: 'r1' }, signal)).kind, 'published');
      assert.equal((await store.offices.publish(reign, { summary: 's2' }, signal)).kind, 'published');
      assert.deepEqual(await look(), { holder: 'a', documents: ['s2', 'r1'] });
      assert.deepEqual((await store.read(signal)).skipped, [], 'no part of the roll');
    });

    it('refuses what an earlier reign publishes late, and keeps what the present one did', async () => {
      const earlier = reignOf(await campaign('a'));
      await untilVacant();
      assert.deepEqual(await store.offices.publish(earlier, { summary: 'late' }, signal), {
        kind: 'deposed',
        by: null,
      });
      const present = reignOf(await campaign('b'));
      await store.offices.publish(present, { summary: 'new' }, signal);
      const outcome = await store.offices.publish(earlier, { summary: 'later still' }, signal);
      assert.deepEqual(outcome, { kind: 'deposed', by: { session: 'b', instanceId: 'i-of-b' } });
      assert.deepEqual((await look()).documents, ['new', null]);
    });

    it('knows two reigns of one session apart', async () => {
      const first = reignOf(await campaign('a'));
      await store.offices.resign(first, signal);
      const second = reignOf(await campaign('a'));
      assert.equal((await store.offices.publish(first, { summary: 'of the first' }, signal)).kind, 'deposed');
      assert.equal((await store.offices.publish(second, { summary: 'of the second' }, signal)).kind, 'published');
    });

    it('is vacant at once when its holder resigns, and a late resignation ends nobody else’s reign', async () => {
      const first = reignOf(await campaign('a'));
      await store.offices.resign(first, signal);
      assert.equal((await look()).holder, null);
      reignOf(await campaign('b'));
      await store.offices.resign(first, signal);
      assert.equal((await look()).holder, 'b');
    });

    it('finds out by renewing that somebody deleted the key', async () => {
      const reign = reignOf(await campaign('a'));
      const key = 'coordination/v1/audit/leader';
      await kv.txn({ guards: [], puts: [], deletes: [key], reads: [] }, signal);
      assert.equal(await store.offices.renew(reign, signal), 'deposed');
    });

    it('is nothing that who reads the roll is sent', async () => {
      await store.offices.publish(reignOf(await campaign('a')), { summary: 's', details: 'd'.repeat(100_000) }, signal);
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

    it('takes a value there that is none of ours for somebody’s', async () => {
      for (const value of ['junk', '{}', 'null']) {
        const puts = [{ key: 'coordination/v1/audit/leader', value, lease: '0' }];
        await kv.txn({ guards: [], puts, deletes: [], reads: [] }, signal);
        assert.deepEqual(await campaign('a'), { kind: 'taken', by: { session: 'unknown', instanceId: null } });
      }
    });

    it('goes on with an election and a publication whose answers were lost', async () => {
      const wire = slowWire(kv);
      const unlucky = createRollStore(wire.kv);
      wire.loseNextAnswer();
      await assert.rejects(campaign('a', unlucky), StoreError);
      assert.equal((await campaign('b')).kind, 'taken');
      const reign = reignOf(await campaign('a', unlucky));
      assert.equal(await unlucky.offices.renew(reign, signal), 'renewed');
      wire.loseNextAnswer();
      await assert.rejects(unlucky.offices.publish(reign, { summary: 's1' }, signal), StoreError);
      const written = await revision();
      assert.equal((await unlucky.offices.publish(reign, { summary: 's1' }, signal)).kind, 'published');
      assert.equal(await revision(), written, 'it was there already');
    });

    it('does not let an earlier publication of the same reign overwrite a later one', async () => {
      const wire = slowWire(kv);
      const slow = createRollStore(wire.kv);
      const reign = reignOf(await campaign('a', slow));
      await slow.offices.publish(reign, { summary: 's0' }, signal);
      wire.keepNext();
      await assert.rejects(slow.offices.publish(reign, { summary: 's1' }, signal), StoreError);
      assert.equal((await slow.offices.publish(reign, { summary: 's2' }, signal)).kind, 'published');
      assert.deepEqual(
        (await wire.deliver()).map(({ succeeded }) => succeeded),
        [false],
      );
      assert.equal((await look()).documents[0], 's2');
    });
  });
}

function reignOf(outcome: CampaignOutcome): Reign {
  if (outcome.kind !== 'elected') assert.fail(JSON.stringify(outcome));
  return outcome.reign;
}
