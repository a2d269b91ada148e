import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { createClient } from '../../src/client/create-client.ts';
import type { WatchedEvent, WatchOptions } from '../../src/client/types.ts';
import { AgentError } from '../../src/client/types.ts';
import { DeadlineError } from '../../src/lib/deadline.ts';
import { FutureRevisionError, SlowReaderError } from '../../src/registry/event-source.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import { lost, registered, synced } from './sample-events.ts';
import { type Connection, scriptedSource } from './scripted-source.ts';

const away = () => new AgentError('watch: connection refused', { retryable: true });
const snapshot = {
  batches: [
    { events: [registered(7, 1, true)], cursor: null },
    { events: [synced(7, 1)], cursor: '7' },
  ],
};

/** A watch whose events are read at once, on a simulated clock. */
function follow(connections: readonly Connection[], options: WatchOptions = {}, clientSignal?: AbortSignal) {
  const clock = simulatedClock();
  const source = scriptedSource(connections);
  const client = createClient(source, { clock, random: () => 0.5, signal: clientSignal });
  const retries: string[] = [];
  const watch = client.watch({ ...options, onRetry: (error) => retries.push(error.message) });
  const seen: [id: string, cursor: string | null][] = [];
  const ended = (async () => {
    for await (const event of watch) seen.push([event.id, event.cursor]);
  })();
  const outcome = ended.then(
    () => 'ended',
    (error) => error,
  );
  return { clock, source, client, watch, seen, retries, outcome };
}

test('a snapshot has no cursor until it is synced; then each event has the cursor that is valid after it', async () => {
  const batch = { events: [registered(9, 2), lost(9, 1)], cursor: '9' };
  const w = follow([{ batches: [...snapshot.batches, batch, { events: [], cursor: '12' }], hold: true }]);
  await w.clock.advance(0);
  assert.deepEqual(w.seen, [
    ['7/i-00000001/registered/snapshot', null],
    ['7/synced', '7'],
    ['9/i-00000002/registered', '7'],
    ['9/i-00000001/lost', '9'],
  ]);
  assert.equal(w.watch.cursor, '12', 'it moves on where there is nothing to tell');
  await w.client.close();
});

test('the cursor of a watch is never ahead of the handled events', async () => {
  const batches = [{ events: [registered(9, 2), lost(9, 1)], cursor: '9' }];
  const client = createClient(scriptedSource([{ batches, hold: true }]), {
    clock: simulatedClock(),
    random: () => 0.5,
    signal: undefined,
  });
  const watch = client.watch({ since: '5' });
  const cursors: (string | null)[] = [];
  for await (const event of watch) {
    cursors.push(watch.cursor);
    if (event.type === 'rollcall.instance.lost') break;
  }
  assert.deepEqual(cursors, ['5', '5']);
  await client.close();
});

test('a stream that breaks, ends, times out or was too slow continues after its cursor, after a pause', async () => {
  const moves = (revision: number) => [{ events: [registered(revision, 1)], cursor: String(revision) }];
  const w = follow([
    snapshot,
    { batches: moves(8), error: away() },
    { batches: moves(9), error: new DeadlineError('watch', 30_000) },
    { batches: moves(10), error: new SlowReaderError('too slow') },
  ]);
  await w.clock.advance(0);
  assert.deepEqual(w.source.asked, [null]);
  await w.clock.advance(249);
  assert.deepEqual(w.source.asked, [null]);
  await w.clock.advance(1);
  assert.deepEqual(w.source.asked, [null, '7']);
  await w.clock.advance(3 * 250); // a stream with data resets the backoff
  assert.deepEqual(w.source.asked, [null, '7', '8', '9', '10']);
  assert.deepEqual(w.retries, [
    'watch the roll at script:: the stream ended',
    'watch: connection refused',
    'watch: no answer within 30000 ms',
    'too slow',
  ]);
  await w.client.close();
  assert.equal(await w.outcome, 'ended');
});

test('pauses grow to 5 s on average without data, and respect the agent’s Retry-After', async () => {
  const w = follow([
    ...Array.from({ length: 8 }, () => ({ error: away() })),
    { error: new AgentError('later', { retryable: true, retryAfterMs: 20_000 }) },
  ]);
  await w.clock.advance(250 + 500 + 1_000 + 2_000 + 4_000 + 5_000 * 3 - 1);
  assert.equal(w.source.asked.length, 8);
  await w.clock.advance(1);
  assert.equal(w.source.asked.length, 9);
  await w.clock.advance(24_999);
  assert.equal(w.source.asked.length, 9);
  await w.clock.advance(1);
  assert.equal(w.source.asked.length, 10);
  await w.client.close();
});

test('a stream that is open says so, also without data; the backoff ends with data, or after 10 s', async () => {
  const clock = simulatedClock();
  const quiet = { batches: [{ events: [] }] };
  const source = scriptedSource([{ ...quiet, error: away() }, { ...quiet, error: away() }, quiet, { error: away() }]);
  const long = source.stream;
  source.stream = async function* (request, signal) {
    const isThird = source.asked.length === 2;
    yield* long(request, signal);
    if (isThird) await clock.sleep(10_000, signal);
  };
  const client = createClient(source, { clock, random: () => 0.5, signal: undefined });
  const told: string[] = [];
  const watch = client.watch({ since: '5', onRetry: () => told.push('away'), onOpen: () => told.push('open') });
  const ended = watch.next();
  await clock.advance(250 + 500);
  assert.deepEqual(told, ['open', 'away', 'open', 'away', 'open']);
  await clock.advance(10_000 + 249);
  assert.deepEqual(told.slice(5), ['away']);
  assert.equal(source.asked.length, 3);
  await clock.advance(1);
  assert.equal(source.asked.length, 4, 'the pause is the first one again');
  await client.close();
  await ended;
});

test('an interrupted snapshot starts again, and so does one in mid-stream, because the store may be another', async () => {
  const [piece] = snapshot.batches;
  assert.ok(piece);
  const unmarked = { events: piece.events }; // as from an agent, whose pieces have no cursor
  const move = { events: [lost(8, 1)], cursor: '8' };
  const w = follow([{ batches: [piece], error: away() }, snapshot, { batches: [move, unmarked], error: away() }]);
  await w.clock.advance(10_000);
  assert.deepEqual(w.source.asked, [null, null, '7', null]);
  assert.deepEqual(w.seen.at(-1), ['7/i-00000001/registered/snapshot', null]);
  assert.equal(w.watch.cursor, null);
  await w.client.close();
});

test('a snapshot at the start of a stream keeps the cursor that was asked for, also while losses are held back after it', async () => {
  const [piece, whole] = snapshot.batches;
  assert.ok(piece && whole);
  const held = { ...whole, cursor: null }; // its losses have no revision to resume after
  const unmarked = { events: piece.events };
  const w = follow(
    [
      { batches: [piece], error: away() },
      { batches: [piece, held, { events: [], cursor: null }], error: away() },
      { batches: [unmarked, whole, piece], error: away() },
      { error: away() },
    ],
    { since: '5' },
  );
  await w.clock.advance(10_000);
  assert.deepEqual(w.source.asked.slice(0, 5), ['5', '5', '5', null, null]);
  assert.deepEqual(
    w.seen.map(([, cursor]) => cursor),
    ['5', '5', '5', '5', '7', null],
  );
  await w.client.close();
});

test('a cursor that a stream has taken is not the caller’s mistake when the store is restored later', async () => {
  const [piece] = snapshot.batches;
  const w = follow(
    [{ batches: [piece ?? assert.fail()], error: away() }, { error: new FutureRevisionError('5', '3') }],
    {
      since: '5',
    },
  );
  await w.clock.advance(10_000);
  assert.deepEqual(w.source.asked.slice(0, 3), ['5', '5', null]);
  await w.client.close();
});

test('after a restore in mid-stream the watch starts with a snapshot; a future revision from the caller is an error', async () => {
  const future = new FutureRevisionError('7', '3');
  const restored = follow([snapshot, { error: future }, snapshot]);
  await restored.clock.advance(10_000);
  assert.deepEqual(restored.source.asked.slice(0, 3), [null, '7', null]);
  await restored.client.close();

  const wrong = follow([{ error: away() }, { error: future }], { since: '7' });
  await wrong.clock.advance(10_000);
  assert.equal(await wrong.outcome, future);
  assert.deepEqual(wrong.source.asked, ['7', '7']);
});

test('an error that a retry cannot fix ends the watch', async () => {
  for (const error of [new AgentError('watch: 404', { retryable: false }), new TypeError('a defect')]) {
    const w = follow([{ error }]);
    await w.clock.advance(60_000);
    assert.equal(await w.outcome, error);
    assert.equal(w.source.asked.length, 1);
    assert.equal(w.source.open(), 0);
  }
});

test('a watch ends without an error at close(), and with the reason of its own or the client’s signal', async () => {
  const reason = new Error('enough');
  const [own, whole] = [new AbortController(), new AbortController()];
  const closed = follow([{ hold: true }]);
  const aborted = follow([{ hold: true }], { signal: own.signal });
  const all = follow([{ hold: true }], {}, whole.signal);
  const pausing = follow([{ error: away() }]);
  for (const w of [closed, aborted, all, pausing]) await w.clock.advance(0);
  await closed.client.close();
  own.abort(reason);
  whole.abort(reason);
  await pausing.client.close();
  assert.equal(await closed.outcome, 'ended');
  assert.equal(await aborted.outcome, reason);
  assert.equal(await all.outcome, reason);
  assert.equal(await pausing.outcome, 'ended');
  for (const w of [closed, aborted, all, pausing]) {
    assert.equal(w.source.open(), 0);
    assert.equal(w.clock.sleepers(), 0);
  }
  await assert.rejects(aborted.client.watch({ signal: own.signal }).next(), reason);
  await assert.rejects(closed.client.list(), /the client of script: is closed/);
  assert.deepEqual(await closed.client.watch().next(), { done: true, value: undefined });
});

test('an event that was read ahead is not returned after the signal aborted', async () => {
  const events = [registered(9, 1), registered(9, 2)];
  const stop = new AbortController();
  const clock = simulatedClock();
  const client = createClient(scriptedSource([{ batches: [{ events, cursor: '9' }] }]), {
    clock,
    random: () => 0.5,
    signal: undefined,
  });
  const seen: WatchedEvent[] = [];
  await assert.rejects(async () => {
    for await (const event of client.watch({ signal: stop.signal })) {
      seen.push(event);
      stop.abort(new Error('enough'));
    }
  }, /enough/);
  assert.equal(seen.length, 1);
  await client.close();
});

test('leaving the loop, and return() during a wait, end the stream', async () => {
  const { signal } = new AbortController();
  const w = follow([{ batches: [{ events: [registered(9, 1)], cursor: '9' }], hold: true }], { signal });
  await w.clock.advance(0);
  assert.equal(w.source.open(), 1);
  await w.watch.return();
  assert.equal(await w.outcome, 'ended');
  assert.equal(w.source.open(), 0);
  assert.equal(getEventListeners(signal, 'abort').length, 0, 'a signal that outlives it keeps nothing of it');
});

test('an invalid option throws at once, with the value and what is allowed', () => {
  const client = createClient(scriptedSource([]), { clock: simulatedClock(), random: () => 0.5, signal: undefined });
  const cases: [WatchOptions, RegExp][] = [
    [{ since: '1x' }, /since "1x": expected a store revision/],
    [{ since: '9999999999999999999' }, /since "9999999999999999999"/],
    [{ types: ['gone' as 'lost'] }, /types "gone" is not known; allowed: registered, .*synced/],
    [{ types: [] }, /types is empty/],
    [{ types: 'lost,gone' }, /types "gone" is not known/],
    [{ types: '' }, /types is empty/],
    [{ cluster: '' }, /cluster has an empty value/],
    [{ cluster: 'arn:aws:ecs:us-east-1:1:cluster/a' }, /cluster "arn:\S+" is not the name or the ARN of a cluster/],
  ];
  for (const [options, message] of cases) assert.throws(() => client.watch(options), message);
  assert.doesNotThrow(() => client.watch({ types: 'lost,rollcall.roll.synced' }));
  assert.doesNotThrow(() => client.watch({ types: ['lost', 'rollcall.roll.synced'], cluster: ['a', 'b'], since: '0' }));
});
