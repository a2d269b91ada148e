import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RollEvent } from '../../src/record/events.ts';
import { initialVerdict, judgeLosses } from '../../src/registry/loss-verdict.ts';
import { startMachineTimer } from '../support/machine-time.ts';
import { fewerInQuickRun } from '../support/quick-run.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { type PollAnswer, verdictDriver } from '../support/verdict-driver.ts';

describe('loss verdict', () => {
  const LIMITS = { share: 0.3, count: 5 };
  const TTL_MS = 30_000;
  const ids = (count: number, from = 0) => Array.from({ length: count }, (_, n) => sampleInstanceId(from + n));
  const answering =
    (overdue: number, afterMs = 10) =>
    () => ({ asked: 32, overdue, afterMs });
  const silent = (): PollAnswer => null;
  const fleet = (size: number, answer: () => PollAnswer) => verdictDriver(size, LIMITS, answer);

  test('a single crash is sent as soon as the store says that the others are healthy', () => {
    const run = fleet(100, answering(0));
    run.change(run.lost(sampleInstanceId(7)));
    assert.equal(run.summary(), '');
    run.pass(10);
    assert.equal(run.summary(), 'lost');
    assert.deepEqual([run.emitted[0]?.atMs, run.emitted[0]?.event.revision], [10, '101']);
  });

  test('a single crash is sent within 500 ms when the store does not answer or has no answer', () => {
    for (const answer of [silent, () => ({ asked: 0, overdue: 0, afterMs: 10 })]) {
      const run = fleet(100, answer);
      run.change(run.lost(sampleInstanceId(7)));
      run.pass(499);
      assert.equal(run.summary(), '');
      run.pass(1);
      assert.equal(run.summary(), 'lost');
    }
  });

  test('the first loss of many is uncertain, and behind the filter no node that returns within a TTL was ever lost', () => {
    const run = fleet(100, answering(16));
    run.change(run.lost(sampleInstanceId(0)));
    run.pass(10);
    assert.equal(run.summary(), 'uncertain lost?');
    assert.deepEqual(run.uncertainty, {
      vanished: 51,
      nodes: 100,
      limitShare: 0.3,
      limitCount: 5,
      since: '2026-01-01T00:00:00.010Z',
      until: '2026-01-01T00:00:30.000Z',
    });
    for (const id of ids(49, 1)) {
      run.change(run.lost(id));
      run.pass(10);
    }
    assert.equal(run.state.open.size, 50);
    assert.equal(run.uncertainty?.until, '2026-01-01T00:00:30.490Z', 'it moves with later losses');
    for (const id of ids(50)) run.change(run.back(id));
    assert.equal(run.summary(), 'uncertain lost?×50 recovered×50 certain');
    assert.equal(run.heldSummary(), 'uncertain registered×50 certain', 'back under a new session, never lost');
    const certain = { kind: 'certain', revision: '200', upTo: '200', part: 0, returned: 50, lost: 0 };
    assert.deepEqual(run.emitted.at(-1)?.event, certain);
    assert.equal(run.polls, 1);
  });

  test('a node that vanishes during the poll is counted once', () => {
    const run = fleet(10, () => ({ asked: 9, overdue: 5, afterMs: 10 }));
    for (const id of ids(4)) run.change(run.lost(id));
    run.pass(10);
    assert.equal(run.uncertainty?.vanished, 6);
  });

  test('behind the filter nodes that do not return are lost after a TTL: after certain, at the revisions of their losses', () => {
    const run = fleet(20, answering(0));
    run.change(...ids(10).map(run.lost));
    assert.equal(run.summary(), 'uncertain lost?×10', 'the vanished nodes exceed the limits without a poll');
    assert.equal(run.polls, 0);
    run.pass(1_000);
    for (const id of ids(6)) run.change(run.back(id));
    run.change(run.departed(sampleInstanceId(6)));
    run.change([sampleInstanceId(7), null]);
    run.pass(TTL_MS);
    assert.equal(run.summary(), 'uncertain lost?×10 recovered×6 departed forgotten certain');
    assert.equal(run.heldSummary(), 'uncertain registered×6 departed forgotten certain lost×2');
    assert.deepEqual(
      run.emitted.find(({ event }) => event.kind === 'certain'),
      { atMs: TTL_MS, event: { kind: 'certain', revision: '109', upTo: '109', part: 0, returned: 6, lost: 2 } },
    );
    assert.deepEqual(
      run.heldEvents().flatMap((event) => (event.kind === 'lost' ? [[event.instanceId, event.revision]] : [])),
      ids(2, 8).map((id) => [id, '101']),
    );
  });

  test('behind the filter a node that returns unchanged gives no event', () => {
    const run = fleet(20, answering(0));
    const before = ids(10).map((id) => [id, run.real.get(id) ?? null] as const);
    run.change(...ids(10).map(run.lost));
    run.change(...before);
    assert.equal(run.summary(), 'uncertain lost?×10 recovered×10 certain');
    assert.equal(run.heldSummary(), 'uncertain certain');
  });

  test('a large share of few nodes is no mass loss, nor is a large number that is a small share', () => {
    const few = fleet(10, answering(0));
    few.change(...ids(4).map(few.lost));
    few.pass(10);
    assert.equal(few.summary(), 'lost×4');
    const many = fleet(100, answering(0));
    many.change(...ids(30).map(many.lost));
    many.pass(10);
    assert.equal(many.summary(), 'lost×30', 'exactly the share is not more than the share');
    const more = fleet(100, answering(0));
    more.change(...ids(31).map(more.lost));
    assert.equal(more.summary(), 'uncertain lost?×31');
  });

  test('losses that come one by one are counted together for a TTL', () => {
    const run = fleet(20, answering(0));
    for (const id of ids(6)) {
      run.change(run.lost(id));
      run.pass(4_000);
    }
    assert.equal(run.summary(), 'lost×6');
    run.change(run.lost(sampleInstanceId(6)));
    assert.equal(run.summary(), 'lost×6 uncertain lost?');
    assert.deepEqual([run.uncertainty?.vanished, run.uncertainty?.nodes], [7, 20]);

    const slow = fleet(20, answering(0));
    for (const id of ids(8)) {
      slow.change(slow.lost(id));
      slow.pass(7_000);
    }
    assert.equal(slow.summary(), 'lost×8', 'five in a TTL are not more than the share');
  });

  test('in a fleet with fewer nodes than the count a loss is sent at once', () => {
    const run = fleet(4, answering(0));
    for (const id of ids(4)) run.change(run.lost(id));
    assert.equal(run.summary(), 'lost×4');
    assert.deepEqual([run.polls, run.nowMs()], [0, 0]);
  });

  test('when no present node is left to poll and the limits are not exceeded, the losses are sent at once', () => {
    const run = verdictDriver(20, { share: 1, count: 5 }, answering(0));
    run.change(...ids(20).map(run.lost));
    assert.equal(run.summary(), 'lost×20');
  });

  test('a store that had no answer is polled again', () => {
    const answers: PollAnswer[] = [
      { asked: 0, overdue: 0, afterMs: 10 },
      { asked: 32, overdue: 0, afterMs: 10 },
    ];
    const run = fleet(100, () => answers.shift() ?? null);
    run.change(run.lost(sampleInstanceId(7)));
    run.pass(210);
    assert.equal(run.summary(), 'lost');
    assert.equal(run.polls, 2);
  });

  test('behind the filter losses are sent in the order in which they happened', () => {
    const run = fleet(20, answering(0));
    const order = ids(10).reverse();
    for (const id of order) run.change(run.lost(id));
    run.pass(TTL_MS);
    const lost = run.heldEvents().map(({ instanceId, revision }) => [instanceId, revision]);
    assert.deepEqual(
      lost.slice(-order.length),
      order.map((id, n) => [id, String(101 + n)]),
    );
  });

  test('while the store does not answer, many losses are uncertain, whatever their share', () => {
    const run = fleet(1_000, silent);
    run.change(...ids(6).map(run.lost));
    run.pass(500);
    assert.equal(run.summary(), 'uncertain lost?×6');
    run.pass(TTL_MS);
    assert.equal(run.heldSummary(), 'uncertain certain lost×6');
  });

  test('the store is polled at most five times a second, and a loss that waits for that is still sent in time', () => {
    const run = fleet(500, answering(0, 5));
    for (const id of ids(100)) {
      run.change(run.lost(id));
      run.pass(20);
    }
    run.pass(500);
    // The driver asserts for each that it was sent within 500 ms.
    assert.equal(run.summary(), 'lost×100');
    assert.ok(run.polls >= 5 && run.polls <= 12, `${run.polls} polls in 2 s`);
  });

  test('a growing loss sends uncertain again in steps, not with every node', () => {
    const run = fleet(1_000, answering(32));
    run.change(...ids(10).map(run.lost));
    run.pass(10);
    const small = verdictDriver(500, { share: 0, count: 5 }, answering(0));
    for (const id of ids(400)) small.change(small.lost(id));
    assert.equal(run.summary(), 'uncertain lost?×10');
    const numbers = small.emitted.flatMap(({ event }) =>
      event.kind === 'uncertain' ? [event.uncertainty.vanished] : [],
    );
    assert.deepEqual(numbers, [5, 8, 12, 18, 27, 41, 62, 93, 140, 210, 315]);
    assert.equal(small.uncertainty?.vanished, 400, 'the state has the newest number');
  });

  test('an uncertainty that is extended by more losses ends for those that are due', () => {
    const run = fleet(100, answering(0));
    run.change(...ids(31).map(run.lost));
    for (const id of ids(12, 31)) {
      run.pass(10_000);
      run.change(run.lost(id));
    }
    assert.match(
      run.heldSummary(),
      /^uncertain certain lost×37 uncertain/,
      'after three TTLs, with those of the last TTL still uncertain',
    );
    assert.equal(run.emitted.find(({ event }) => event.kind === 'certain')?.atMs, 3 * TTL_MS);
    run.pass(3 * TTL_MS);
    assert.equal(run.heldEvents().length, 43);
  });

  test('all late changes are applied before any `lost` is sent', () => {
    const run = fleet(20, answering(0));
    run.change(...ids(10).map(run.lost));
    run.beAway(2 * TTL_MS);
    for (const id of ids(9)) run.change(run.back(id));
    assert.equal(run.heldSummary(), 'uncertain registered×9');
    run.pass(0);
    assert.equal(run.heldSummary(), 'uncertain registered×9 certain lost');
  });

  test('a snapshot that lacks many nodes is uncertain, and only a snapshot brings its losses again', () => {
    const run = fleet(20, answering(0));
    run.put(ids(10).map(run.lost));
    run.snapshot();
    assert.equal(run.summary(), 'uncertain synced');
    const cursors = () => new Set([...run.state.open.values()].map(({ after }) => after));
    assert.deepEqual([run.state.open.size, cursors()], [10, new Set([null])]);
    run.put(ids(4).map(run.back));
    run.put([run.departed(sampleInstanceId(4))]);
    run.snapshot();
    assert.deepEqual([...run.state.open.keys()].sort(), ids(5, 5));
    run.pass(TTL_MS);
    assert.equal(run.heldSummary(), 'synced×2 certain lost×5');
    const certain = { kind: 'certain', revision: '103', upTo: '103', part: 0, returned: 4, lost: 5 };
    assert.deepEqual(run.emitted.at(-1)?.event, certain);
  });

  test('a node that is present again in a snapshot has returned, and nothing is uncertain then', () => {
    const run = fleet(20, answering(0));
    const before = ids(10).map((id) => [id, run.real.get(id) ?? null] as const);
    run.change(...ids(10).map(run.lost));
    run.put(before);
    run.snapshot();
    assert.deepEqual([run.emitted.at(-1)?.event.kind, run.uncertainty, run.state.open.size], ['synced', null, 0]);
  });

  test('a record that changes while its loss is kept is in the lost event', () => {
    const run = fleet(20, answering(0));
    run.change(...ids(10).map(run.lost));
    const id = sampleInstanceId(0);
    const record = sampleRecord({ ec2InstanceId: id, cluster: 'other' });
    run.change([id, { record, presence: null }]);
    assert.equal(run.summary(), 'uncertain lost?×10 updated');
    assert.equal(run.heldSummary(), 'uncertain');
    run.pass(TTL_MS);
    const event = run.heldEvents().find(({ instanceId }) => instanceId === id);
    assert.deepEqual([event?.kind, event?.revision, event?.after?.record.cluster], ['lost', '101', 'other']);
  });

  test('with a wrong, huge TTL nothing is uncertain for more than five minutes', () => {
    const run = verdictDriver(20, LIMITS, answering(0), 1e9);
    run.change(...ids(10).map(run.lost));
    run.pass(300_000);
    assert.equal(run.heldSummary(), 'uncertain certain lost×10');
  });

  test('a verdict at rest does nothing when time passes or an answer comes late', () => {
    const now = { monotonicMs: 5, wallMs: 5 };
    for (const input of [{ kind: 'tick' }, { kind: 'polled', asked: 9, overdue: 9 }] as const) {
      const { state, telling, ...step } = judgeLosses(initialVerdict, input, now, LIMITS);
      assert.deepEqual(step, { poll: false, wakeAtMs: null });
      assert.deepEqual(
        { ...telling, losses: telling?.losses.size },
        { verdict: 'certain', opening: [], closing: [], losses: 0 },
      );
      assert.deepEqual(state.phase, { kind: 'rest' });
    }
  });

  test('a loss that is taken back while it waits for the verdict is uncertain, and the filter drops it', () => {
    const run = fleet(100, answering(0, 400));
    const before = run.real.get(sampleInstanceId(7)) ?? null;
    run.change(run.lost(sampleInstanceId(7)));
    run.pass(100);
    run.change([sampleInstanceId(7), before]);
    run.change(run.lost(sampleInstanceId(8)));
    run.pass(400);
    assert.equal(run.summary(), 'lost? recovered lost');
    assert.equal(run.heldSummary(), 'lost');
  });

  test('losses of a replay are uncertain for as long as they are not known to be a TTL old', () => {
    const entry = { record: sampleRecord({}), presence: { session: 's', since: '', ttlSeconds: 30 } };
    const fate = { decided: null };
    const losses = ids(2).map((instanceId) => ({ instanceId, before: entry, revision: '7', after: '6', fate }));
    const at = (monotonicMs: number) =>
      judgeLosses(
        initialVerdict,
        { kind: 'past', revision: '9', losses, present: 5, seenAtMs: 1_000 },
        { monotonicMs, wallMs: 0 },
        LIMITS,
      );
    assert.deepEqual([at(30_999).state.phase.kind, at(30_999).wakeAtMs], ['uncertain', 31_000]);
    assert.deepEqual([at(31_000).state.phase.kind, at(31_000).telling?.opening], ['rest', []]);
  });

  test('when too many changes wait for the verdict, the number of the losses decides at once', () => {
    for (const [count, verdict] of [
      [4, 'certain'],
      [5, 'uncertain'],
    ] as const) {
      const run = fleet(1_000, silent);
      run.change(...ids(count).map(run.lost));
      const now = { monotonicMs: 1, wallMs: 1 };
      assert.equal(judgeLosses(run.state, { kind: 'tick' }, now, LIMITS).telling, null);
      assert.equal(judgeLosses(run.state, { kind: 'full' }, now, LIMITS).telling?.verdict, verdict);
    }
  });

  test('many nodes that vanish and return one by one cost little', () => {
    const nodes = fewerInQuickRun(10_000);
    const entries = ids(nodes).map((ec2InstanceId, n) => {
      const presence = { session: `s-${n}`, since: '2026-01-01T00:00:00Z', ttlSeconds: 30 };
      return { record: sampleRecord({ ec2InstanceId }), presence };
    });
    let [state, revision] = [initialVerdict, 0];
    const events: RollEvent[] = [];
    const timer = startMachineTimer();
    for (const returning of [false, true]) {
      for (const [n, entry] of entries.entries()) {
        revision += 1;
        const gone = { ...entry, presence: null };
        const [before, after] = returning ? [gone, entry] : [entry, gone];
        const changes = [{ instanceId: entry.record.ec2InstanceId, before, after }];
        const present = returning ? n + 1 : entries.length - n - 1;
        const now = { monotonicMs: revision / 10, wallMs: revision };
        const step = judgeLosses(state, { kind: 'changes', revision: String(revision), changes, present }, now, {
          share: 0,
          count: 1,
        });
        state = step.state;
        events.push(...(step.telling?.opening ?? []), ...(step.telling?.closing ?? []));
      }
    }
    timer.tick();
    assert.ok(timer.elapsedMs() < 20_000, `${timer.elapsedMs()} ms`);
    const certain = {
      kind: 'certain',
      revision: `${2 * nodes}`,
      upTo: `${2 * nodes}`,
      part: 0,
      returned: nodes,
      lost: 0,
    };
    assert.deepEqual(events.at(-1), certain);
    assert.ok(events.length < 30, `${events.length} events`);
  });
});
