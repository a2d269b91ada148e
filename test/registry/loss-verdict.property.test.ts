import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { RollEntry } from '../../src/record/roll.ts';
import { fewerInQuickRun } from '../support/quick-run.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { type PollAnswer, verdictDriver } from '../support/verdict-driver.ts';

describe('loss verdict', () => {
  const LIMITS = { share: 0.3, count: 5 };
  const TTL_MS = 30_000;
  const ids = (count: number, from = 0) => Array.from({ length: count }, (_, n) => sampleInstanceId(from + n));

  const SIZE = 24;
  const id = fc.nat({ max: SIZE + 3 }).map(sampleInstanceId);
  const some = fc.uniqueArray(id, { minLength: 1, maxLength: SIZE });
  const act = fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant('lose' as const), ids: some }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('return' as const), ids: some }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('change' as const), ids: some }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('depart' as const, 'forget' as const), ids: some }) },
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 20, 190, 400, 9_000, 29_000) }),
    },
  );
  const answer: fc.Arbitrary<PollAnswer> = fc.option(
    fc.record({ asked: fc.constantFrom(0, 8), overdue: fc.nat({ max: 8 }), afterMs: fc.constantFrom(0, 5, 300, 700) }),
  );

  test('in any history both consumers end with the store’s roll, and behind the filter no node that returned in time was ever lost', () => {
    const acts = fc.array(fc.record({ act, atOnce: fc.boolean(), unseen: fc.boolean() }), {
      maxLength: 40,
      size: 'max',
    });
    const limits = fc.record({ share: fc.constantFrom(0, 0.1, 0.3, 0.9), count: fc.constantFrom(1, 3, 5, 40) });
    fc.assert(
      fc.property(acts, limits, fc.infiniteStream(answer), (history, someLimits, answers) => {
        const run = verdictDriver(SIZE, someLimits, () => answers.next().value as PollAnswer);
        let unseen = false;
        for (const entry of history) {
          const { act } = entry;
          if (act.do === 'pass') {
            // While the watch is away the verdict gets no input; a snapshot ends that.
            if (unseen) run.snapshot();
            unseen = false;
            run.pass(act.ms);
            continue;
          }
          const entries = act.ids.flatMap((id): (readonly [string, RollEntry | null])[] => {
            const entry = run.real.get(id);
            if (act.do === 'return') return [run.back(id)];
            if (act.do === 'depart') return [run.departed(id)];
            if (entry === undefined) return [];
            if (act.do === 'forget') return [[id, null]];
            if (act.do === 'lose') return entry.presence ? [run.lost(id)] : [];
            const record = { ...entry.record, privateDnsName: `name-${run.nowMs()}-${run.emitted.length}` };
            return [[id, { ...entry, record }]];
          });
          unseen ||= entry.unseen;
          const groups = entry.atOnce ? [entries] : entries.map((one) => [one]);
          for (const group of groups.filter((group) => group.length > 0)) {
            if (unseen) run.put(group);
            else run.change(...group);
          }
        }
        if (unseen) run.snapshot();
        run.pass(10 * TTL_MS);
        // The driver has compared the consumers' rolls with the store's after each step.
        assert.equal(run.state.open.size, 0, 'it comes to rest');
        let uncertain = false;
        let last = '';
        for (const { event } of run.emitted) {
          if (event.kind === 'certain') assert.ok(uncertain, 'certain follows uncertain');
          if (event.kind === 'uncertain') uncertain = true;
          // A snapshot without an `uncertain` right before its `synced` ends it, too.
          if (event.kind === 'certain' || (event.kind === 'synced' && last !== 'uncertain')) uncertain = false;
          last = event.kind;
        }
        assert.equal(uncertain, false, 'every uncertain is followed by a certain');
      }),
      { numRuns: fewerInQuickRun(400) },
    );
  });

  test('behind the filter a `lost` is sent within 500 ms, or after its TTL and an uncertain', () => {
    const losses = fc.array(fc.record({ count: fc.nat({ max: 12 }), gapMs: fc.constantFrom(0, 3, 150, 450, 2_000) }), {
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 80 }), losses, fc.infiniteStream(answer), (size, bursts, answers) => {
        const run = verdictDriver(size, LIMITS, () => answers.next().value as PollAnswer);
        let next = 0;
        for (const { count, gapMs } of bursts) {
          for (const id of ids(Math.min(count, size - next), next)) run.change(run.lost(id));
          next = Math.min(next + count, size);
          run.pass(gapMs);
        }
        run.pass(5 * TTL_MS);
        assert.equal(run.heldEvents().length, next);
        let certain = -1;
        for (const { atMs, event } of run.held) {
          if (event.kind === 'certain') certain = atMs;
          if (event.kind !== 'lost') continue;
          const loss = run.lossAt.get(event.instanceId);
          const heldMs = atMs - (loss?.atMs ?? 0);
          assert.ok(heldMs <= 500 || (heldMs >= TTL_MS && certain === atMs), `held for ${heldMs} ms`);
          assert.equal(event.revision, loss?.revision);
        }
      }),
      { numRuns: fewerInQuickRun(300) },
    );
  });

  test('no `lost` is sent before uncertain when the poll shows a mass loss', () => {
    const burst = fc.record({ size: fc.integer({ min: 1, max: 200 }), lost: fc.integer({ min: 1, max: 60 }) });
    fc.assert(
      fc.property(burst, fc.integer({ min: 0, max: 32 }), ({ size, lost }, overdue) => {
        const vanished = Math.min(lost, size);
        const run = verdictDriver(size, LIMITS, () => ({ asked: 32, overdue, afterMs: 10 }));
        for (const id of ids(vanished)) run.change(run.lost(id));
        run.pass(10);
        // The store is polled when the first node is gone; the others were overdue in that poll.
        const gone = Math.max(vanished, 1 + Math.round((overdue / 32) * (size - 1)));
        const passed = gone / size > LIMITS.share && gone >= LIMITS.count;
        assert.equal(run.emitted[0]?.event.kind, passed ? 'uncertain' : 'lost');
        assert.equal(run.heldEvents().length, passed ? 0 : vanished);
      }),
      { numRuns: fewerInQuickRun(300) },
    );
  });
});
