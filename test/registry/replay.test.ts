import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Presence } from '../../src/record/record.ts';
import type { Roll, RollEntry } from '../../src/record/roll.ts';
import { createSlots, replayChanges, undoChanges } from '../../src/registry/replay.ts';
import type { Change, WatchBatch } from '../../src/store/read-roll.ts';
import { diffRolls } from '../support/diff-rolls.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

describe('replay of changes', () => {
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
        assert.deepEqual(undoChanges(now, later, then.revision), then);
        const received = replayChanges(now, later, then.revision);
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
    assert.deepEqual(undoChanges(roll, [{ revision: '5', changes: [skipped] }], '4'), { ...roll, revision: '4' });
  });
});

describe('slots', () => {
  const NEVER = new AbortController().signal;

  test('at most the given number work at the same time, and all get a slot in order', async () => {
    const slots = createSlots(2);
    const order: number[] = [];
    let working = 0;
    let most = 0;
    const work = (n: number) => async () => {
      order.push(n);
      working += 1;
      most = Math.max(most, working);
      await new Promise((resolve) => setImmediate(resolve));
      working -= 1;
      if (n === 1) throw new Error('failed');
      return n;
    };
    const all = await Promise.allSettled([0, 1, 2, 3, 4].map((n) => slots(NEVER, work(n))));
    assert.deepEqual([order, most], [[0, 1, 2, 3, 4], 2]);
    assert.deepEqual(
      all.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled', 'fulfilled', 'fulfilled'],
    );
  });

  test('a waiter that aborts gives its turn to the next', async () => {
    const slots = createSlots(1);
    const busy = Promise.withResolvers<void>();
    const gone = new AbortController();
    const first = slots(NEVER, () => busy.promise);
    const leaving = assert.rejects(
      slots(gone.signal, () => assert.fail('it had left')),
      /left/,
    );
    const last = slots(NEVER, async () => 'done');
    gone.abort(new Error('left'));
    await leaving;
    busy.resolve();
    await first;
    assert.equal(await last, 'done');
  });

  test('a waiter that aborts just after it got the slot passes it on', async () => {
    const slots = createSlots(1);
    const busy = Promise.withResolvers<void>();
    const gone = new AbortController();
    const first = slots(NEVER, () => busy.promise);
    const leaving = slots(gone.signal, async () => 'in time').catch((error) => error.message);
    const last = slots(NEVER, async () => 'done');
    busy.resolve();
    queueMicrotask(() => gone.abort(new Error('left')));
    await first;
    assert.equal(await leaving, 'left');
    assert.equal(await last, 'done');
  });
});
