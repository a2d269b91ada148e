import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cloudEvent, filterEvent } from '../../src/record/cloud-event.ts';
import { diffEntry, type RollEvent } from '../../src/record/events.ts';
import { parseFilter } from '../../src/record/filter.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { type EventBatch, markPast } from '../../src/registry/event-source.ts';
import { createHold, type Held, holdBatch, holdLosses, NOTHING_HELD } from '../../src/registry/hold.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

describe('hold uncertain losses', () => {
  const NEVER = new AbortController().signal;

  const present = (n: number, session = 'a'): RollEntry => ({
    record: sampleRecord({ ec2InstanceId: sampleInstanceId(n) }),
    presence: { session, since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 },
  });
  const gone = (n: number): RollEntry => ({ ...present(n), presence: null });
  const change = (n: number, revision: number, before: RollEntry | null, after: RollEntry | null) =>
    diffEntry(sampleInstanceId(n), before, after, String(revision));
  const lost = (n: number, revision: number): RollEvent[] =>
    change(n, revision, present(n), gone(n)).map((event) => ({
      ...event,
      uncertain: {
        before: present(n),
        revision: String(revision),
        after: String(revision - 1),
        fate: { decided: null },
      },
    }));
  const certain = (revision: number, upTo = revision): RollEvent => ({
    kind: 'certain',
    revision: String(revision),
    upTo: String(upTo),
    part: 0,
    returned: 0,
    lost: 0,
  });
  const batch = (cursor: number | null, ...events: RollEvent[]): EventBatch => ({
    events,
    cursor: cursor === null ? null : String(cursor),
  });

  function brief({ events, cursor }: EventBatch): string {
    const names = events.map((event) => {
      const id = 'instanceId' in event ? `:${Number.parseInt(event.instanceId.slice(2), 16)}` : '';
      const marks = `${'snapshot' in event && event.snapshot ? '=' : ''}${event.kind}`;
      return `${marks}${id}${'uncertain' in event && event.uncertain ? '?' : ''}@${event.revision}`;
    });
    return `${names.join(' ')} → ${cursor}`;
  }

  /** What comes out of the filter, in short. */
  async function filter(since: string | null, ...batches: EventBatch[]) {
    const events = async function* () {
      yield* batches;
    };
    const source = holdLosses({ events: async () => events() });
    const out: string[] = [];
    for await (const each of await source.events({ since, signal: NEVER })) out.push(brief(each));
    return out;
  }

  test('losses come after certain, in their order and with their revisions, and the cursor waits before the first', async () => {
    const out = await filter(
      '5',
      batch(7, ...lost(2, 7), ...change(9, 7, null, present(9))),
      batch(8, ...lost(1, 8)),
      batch(9),
      batch(9, certain(9)),
      batch(10, ...change(9, 10, present(9), null)),
    );
    assert.deepEqual(out, ['registered:9@7 → 6', 'certain@9 lost:2@7 lost:1@8 → 9', 'forgotten:9@10 → 10']);
  });

  test('a loss that was held has the time at which it was seen, as for those who got it then', () => {
    const hold = createHold();
    hold({ ...batch(6, ...lost(1, 6)), atMs: 1_000 });
    const [first, second] = hold({ ...batch(9, certain(9)), atMs: 31_000 })?.events ?? [];
    assert.ok(first && second);
    const times = [first, second].map((event) => Date.parse(cloudEvent(event, 'store', 31_000).time));
    assert.deepEqual(times, [31_000, 1_000]);
  });

  test('a node that is back was never lost: it gets what changed', async () => {
    const out = await filter(
      '5',
      batch(6, ...lost(1, 6), ...lost(2, 6), ...lost(3, 6), ...lost(4, 6)),
      batch(7, ...change(1, 7, gone(1), present(1)), ...change(2, 7, gone(2), present(2, 'b'))),
      batch(8, ...change(3, 8, gone(3), null)),
      batch(9, certain(9)),
    );
    assert.deepEqual(out, [' → 5', 'registered:2@7 → 5', 'forgotten:3@8 → 5', 'certain@9 lost:4@6 → 9']);
  });

  test('of two uncertainties in a row, the first `certain` releases only its own losses', async () => {
    const out = await filter(
      '5',
      batch(6, ...lost(1, 6)),
      batch(8, ...lost(2, 8)),
      batch(9, certain(9, 7)),
      batch(9, certain(9)),
    );
    assert.deepEqual(out, [' → 5', 'certain@9 lost:1@6 → 7', 'certain@9 lost:2@8 → 9']);
  });

  test('a snapshot replaces what is kept, and shows uncertain losses as present', async () => {
    const restated = (event: RollEvent) => ({ ...event, snapshot: true });
    const states = [
      ...diffEntry(sampleInstanceId(1), null, present(1), '20', true),
      ...lost(2, 15).map((event) => ({ ...restated(event), before: null, revision: '20' }) as RollEvent),
    ];
    const synced: RollEvent = { kind: 'synced', revision: '20', entries: [present(1), gone(2)] };
    const out = await filter(
      '5',
      batch(6, ...lost(1, 6)),
      batch(null, ...states),
      batch(20, synced),
      batch(20, certain(20)),
    );
    assert.deepEqual(out, [
      ' → 5',
      '=registered:1@20 =registered:2@20 → null',
      'synced@20 → 14',
      'certain@20 lost:2@15 → 20',
    ]);
  });

  test('a consumer that may have been sent a loss before it resumed gets the return of the node, and no other consumer does', async () => {
    const loss = batch(7, ...lost(2, 7));
    const later = batch(8, ...lost(3, 8));
    const back = batch(9, ...change(2, 9, gone(2), present(2)));
    const alsoBack = batch(10, ...change(3, 10, gone(3), present(3)));
    const marked = markPast(loss);
    assert.deepEqual(await filter('5', loss, later, back, alsoBack), [' → 6', ' → 10']);
    assert.deepEqual(await filter('5', marked, later, back, alsoBack), [' → 6', 'recovered:2@9 → 6', ' → 10']);
  });

  test('after a restored backup, whose revisions are lower, a loss that was held is new to a consumer that has resumed', async () => {
    const past = markPast(batch(70, ...change(9, 70, null, present(9))));
    const restored: RollEvent = { kind: 'synced', revision: '20', entries: [present(2)] };
    const states = batch(null, ...diffEntry(sampleInstanceId(2), null, present(2), '20', true));
    const loss = batch(25, ...lost(2, 25));
    const back = batch(26, ...change(2, 26, gone(2), present(2)));
    assert.deepEqual(await filter('60', past, states, batch(20, restored), loss, back), [
      'registered:9@70 → 70',
      '=registered:2@20 → null',
      'synced@20 → 20',
      ' → 24',
      ' → 26',
    ]);
  });

  test('a consumer that resumed and one that did not share each loss that is released', async () => {
    const loss = batch(7, ...lost(2, 7));
    const end = batch(8, certain(8));
    const released = [loss, markPast(loss)].map((first) => {
      const hold = createHold();
      hold(first);
      return hold(end)?.events.at(-1);
    });
    assert.ok(released[0] && released[0] === released[1]);
  });

  test('the synced of such a snapshot has them as present too, so that a filter by presence keeps them', () => {
    const [state] = lost(2, 15).map((event) => ({ ...event, snapshot: true, before: null }) as RollEvent);
    assert.ok(state);
    const { held } = holdBatch(NOTHING_HELD, batch(null, state));
    const synced: RollEvent = { kind: 'synced', revision: '20', entries: [present(1), gone(2), gone(3)] };
    const [told] = holdBatch(held, batch(20, synced)).batch.events;
    assert.deepEqual(told, { ...synced, entries: [present(1), present(2), gone(3)] });
    const seen = told && filterEvent(told, { kinds: null, nodes: parseFilter({ presence: ['present'] }) });
    assert.deepEqual(seen?.kind === 'synced' && seen.entries, [present(1), present(2)]);
  });

  test('a snapshot of an empty roll ends what is kept', async () => {
    const synced: RollEvent = { kind: 'synced', revision: '20', entries: [] };
    assert.deepEqual(await filter('5', batch(6, ...lost(1, 6)), batch(20, synced), batch(21, certain(21))), [
      ' → 5',
      'synced@20 → 20',
      'certain@21 → 21',
    ]);
  });

  test('while a loss is kept that only a snapshot has, there is no cursor', async () => {
    const [event] = lost(1, 6);
    const kept = {
      ...event,
      uncertain: { before: present(1), revision: '6', after: null, fate: { decided: null } },
    } as RollEvent;
    assert.deepEqual(await filter('5', batch(6, kept), batch(7, ...lost(2, 7)), batch(8, certain(8))), [
      ' → null',
      'certain@8 lost:1@6 lost:2@7 → 8',
    ]);
  });

  test('readers that are equally far share one state, and a batch without uncertain losses is passed as it is', () => {
    const plain = batch(5, ...change(1, 5, null, present(1)));
    assert.equal(holdBatch(NOTHING_HELD, plain).batch, plain);
    const loss = batch(6, ...lost(1, 6));
    const [first, second] = [holdBatch(NOTHING_HELD, loss), holdBatch(NOTHING_HELD, loss)];
    assert.equal(first.held, second.held);
    assert.notEqual(first.held, NOTHING_HELD);
    const later = batch(7, ...change(2, 7, null, present(2)));
    assert.equal(holdBatch(first.held, later).batch.events, later.events, 'the text of its events can be shared');
    assert.equal(holdBatch(first.held, batch(8, certain(8))).held, NOTHING_HELD);
  });

  test('beyond 50,000 kept losses it gives up: a further one is sent at once, and marked', () => {
    const { held: one } = holdBatch(NOTHING_HELD, batch(6, ...lost(1, 6)));
    const held: Held = { ...one, kept: { ...one.kept, size: 50_000 } };
    const step = holdBatch(held, batch(7, ...lost(50_000, 7)));
    assert.equal(brief(step.batch), 'lost:50000?@7 → 5');
    assert.equal(step.held, held);
  });
});
