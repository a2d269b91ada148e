import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { UncertainLoss } from '../../src/record/events.ts';
import type { Presence } from '../../src/record/record.ts';
import type { Roll, RollEntry } from '../../src/record/roll.ts';
import type { PastLoss } from '../../src/registry/loss-verdict.ts';
import { replayChanges, viewBefore } from '../../src/registry/replay.ts';
import type { Change, WatchBatch } from '../../src/store/read-roll.ts';
import { diffRolls } from '../support/diff-rolls.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

describe('replay of changes', () => {
  const PLAIN = { limits: null, takePast: () => false, openLosses: () => new Map<string, UncertainLoss>() };
  const PRESENCE: Presence = { session: 'session-a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };

  function record(n: number, cluster = 'demo') {
    return sampleRecord({ ec2InstanceId: sampleInstanceId(n), cluster });
  }

  function presenceOf(n: number, presence: Presence | null, previous: Presence | null): Change {
    return { kind: 'presence', instanceId: sampleInstanceId(n), presence, previous };
  }

  interface Step {
    readonly n: number;
    readonly cluster: string | null;
    readonly session: string | null;
  }

  /** Carries out `steps`, each one at a revision of its own: the rolls on the way, and the batches between them. */
  function history(steps: readonly Step[]) {
    const entries = new Map<string, RollEntry>();
    const rolls: Roll[] = [{ revision: '0', entries: [], skipped: [] }];
    const batches: WatchBatch[] = [];
    for (const [index, { n, cluster, session }] of steps.entries()) {
      const revision = String((index + 1) * 2);
      const instanceId = sampleInstanceId(n);
      const old = entries.get(instanceId);
      const next =
        cluster === null ? null : { record: record(n, cluster), presence: session ? { ...PRESENCE, session } : null };
      if (next) entries.set(instanceId, next);
      else entries.delete(instanceId);
      const changes: Change[] = [
        presenceOf(n, next?.presence ?? null, old?.presence ?? null),
        { kind: 'record', instanceId, record: next?.record ?? null, previous: old?.record ?? null },
      ];
      batches.push({ revision, changes });
      const sorted = [...entries.values()].sort((a, b) => (a.record.ec2InstanceId < b.record.ec2InstanceId ? -1 : 1));
      rolls.push({ revision, entries: sorted, skipped: [] });
    }
    return { rolls, batches };
  }

  const step = fc.record({
    n: fc.nat(3),
    cluster: fc.constantFrom('demo', 'other', null),
    session: fc.constantFrom('a', 'b', null),
  });

  test('undoing changes gives the roll from before them, and replaying them gives the events', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.nat(20), (steps, cut) => {
        const { rolls, batches } = history(steps);
        const from = Math.min(cut, steps.length);
        const [then, now] = [rolls[from] as Roll, rolls.at(-1) as Roll];
        const later = batches.slice(from);
        assert.deepEqual(viewBefore(now, later, then.revision).roll(), then);
        const { batches: received } = replayChanges(now, later, then.revision, PLAIN);
        const happened = rolls
          .slice(from)
          .flatMap((roll, index) => (index ? diffRolls(rolls[from + index - 1] as Roll, roll) : []));
        assert.deepEqual(
          received.flatMap(({ events }) => events),
          happened,
        );
        for (const { events, revision, cursor } of received) {
          assert.ok(events.length > 0);
          assert.deepEqual([revision, cursor], [events[0]?.revision, revision]);
        }
      }),
    );
  });

  test('undoing changes leaves other nodes alone', () => {
    const skipped = { kind: 'skipped', skipped: { key: 'v1/junk', reason: 'foreign' } } as const;
    const roll = { revision: '5', entries: [{ record: record(1), presence: PRESENCE }], skipped: [] };
    const { entries } = viewBefore(roll, [{ revision: '5', changes: [skipped] }], '4').roll();
    assert.deepEqual(entries, roll.entries);
  });

  /** Ten nodes that are present, and then what happens, a revision each. */
  /** @param known the nodes that are still lost are so for more than a TTL */
  function mass(happened: readonly (readonly [n: number, session: string | null])[], known = false) {
    const start = Array.from({ length: 10 }, (_, n): Step => ({ n, cluster: 'demo', session: 'a' }));
    const { rolls, batches } = history([
      ...start,
      ...happened.map(([n, session]) => ({ n, cluster: 'demo', session })),
    ]);
    const [then, now] = [rolls[10] as Roll, rolls.at(-1) as Roll];
    let open: readonly PastLoss[] = [];
    const takePast = (losses: readonly PastLoss[]) => {
      open = losses;
      return true;
    };
    const openLosses = () => new Map(known ? [] : open.map((loss) => [loss.instanceId, loss]));
    const limits = { share: 0.3, count: 4 };
    const replay = replayChanges(now, batches.slice(10), then.revision, { limits, takePast, openLosses });
    const told = replay.batches.flatMap(({ events }) => events);
    const names = told.map((event) => `${event.kind}${'uncertain' in event && event.uncertain ? '?' : ''}`).join(' ');
    return { names, told, open, isUncertain: replay.isUncertain };
  }

  test('losses of a mass loss that were taken back are uncertain, from the first one until all nodes are back', () => {
    const lost = [1, 2, 3, 4].map((n) => [n, null] as const);
    const back = [1, 2, 3, 4].map((n) => [n, 'b'] as const);
    const { names, told, open } = mass([[0, null], [0, 'a'], ...lost, [0, null], [0, 'a'], ...back, [5, null]]);
    const past = 'lost? lost? lost? lost? lost? recovered recovered recovered recovered recovered';
    assert.equal(names, `lost recovered ${past} lost`);
    assert.deepEqual(open, []);
    const fates = told.flatMap((event) => ('uncertain' in event && event.uncertain ? [event.uncertain] : []));
    assert.deepEqual(new Set(fates.map(({ fate, isPast }) => `${fate.decided} ${isPast}`)), new Set(['returned true']));
  });

  test('nodes of a mass loss that are not back may be uncertain now, each with its last present entry', () => {
    const happened = [...[4, 3, 2, 1].map((n) => [n, null] as const), [3, 'b'] as const];
    const { names, open, isUncertain } = mass(happened);
    assert.equal(names, 'lost? lost? lost? lost? recovered');
    assert.equal(isUncertain, true);
    assert.deepEqual(
      open.map(({ instanceId }) => instanceId),
      [4, 2, 1].map(sampleInstanceId),
    );
    assert.deepEqual(open[0], {
      ...open[0],
      revision: '22',
      before: { record: record(4), presence: { ...PRESENCE, session: 'a' } },
    });
  });

  test('or they are lost for certain: then only the one that is back is uncertain', () => {
    const { names } = mass([...[4, 3, 2, 1].map((n) => [n, null] as const), [3, 'b']], true);
    assert.equal(names, 'lost lost? lost lost recovered');
  });

  test('a loss that is uncertain now is so in a replay, too', () => {
    const { rolls, batches } = history([
      { n: 1, cluster: 'demo', session: 'a' },
      { n: 1, cluster: 'demo', session: null },
    ]);
    const before = { record: record(1), presence: { ...PRESENCE, session: 'a' } };
    const seen = { before, revision: '4', after: '3', fate: { decided: null } };
    // One that a snapshot brought has another revision there.
    for (const loss of [seen, { ...seen, revision: '9', after: null }]) {
      const options = { ...PLAIN, openLosses: () => new Map([[sampleInstanceId(1), loss]]) };
      const [batch] = replayChanges(rolls[2] as Roll, batches.slice(1), '2', options).batches;
      const event = batch?.events[0];
      assert.ok(event?.kind === 'lost' && event.uncertain);
      const { revision, after, fate } = event.uncertain;
      assert.deepEqual([revision, after, fate === loss.fate], ['4', '3', true]);
    }
  });
});
