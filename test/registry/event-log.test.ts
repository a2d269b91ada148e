import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RollEvent } from '../../src/record/events.ts';
import { createEventLog, type LogReader } from '../../src/registry/event-log.ts';
import { SlowReaderError } from '../../src/registry/event-source.ts';

function event(revision: number): RollEvent {
  return { kind: 'certain', revision: String(revision), upTo: String(revision), part: 0, returned: 0, lost: 0 };
}

/** A log that goes on from revision 10. */
function startLog() {
  const now = { ms: 1_000 };
  const log = createEventLog({ wallMs: () => now.ms });
  log.restart('10');
  const append = (revision: number, events = 1) =>
    log.append([{ revision: String(revision), events: Array(events).fill(event(revision)) }]);
  const confirm = (revision: number) => append(revision, 0);
  return { log, append, confirm, now };
}

function readAfter(log: ReturnType<typeof createEventLog>, revision: number): LogReader {
  const reader = log.readAfter(String(revision));
  assert.ok(reader);
  return reader;
}

function nextOf(reader: LogReader): readonly [readonly string[], string | null] {
  const batch = reader.take();
  assert.ok(batch && batch !== 'restarted' && batch !== 'end');
  return [batch.events.map(({ revision }) => revision), batch.cursor];
}

test('each reader gets the events after its revision, in order, at its own pace', () => {
  const { log, append } = startLog();
  for (const revision of [11, 13, 14]) append(revision);
  const [early, late] = [readAfter(log, 10), readAfter(log, 12)];
  assert.deepEqual(nextOf(early), [['11'], '11']);
  assert.deepEqual(nextOf(late), [['13'], '13']);
  assert.deepEqual(nextOf(early), [['13'], '13']);
  assert.deepEqual(nextOf(early), [['14'], '14']);
});

test('a follower hears of each change until it leaves', () => {
  const { log, append } = startLog();
  const reader = readAfter(log, 10);
  const heard: unknown[] = [];
  const following = log.follow(() => heard.push(reader.take()));
  assert.equal(reader.take(), null);
  append(11);
  append(12);
  assert.equal(log.followers(), 1);
  following[Symbol.dispose]();
  append(13);
  assert.deepEqual([heard.length, log.followers()], [2, 0]);
  assert.deepEqual(nextOf(reader), [['13'], '13']);
});

test('confirmations without events advance the cursor, and a reader gets only the newest', () => {
  const { log, append, confirm } = startLog();
  const reader = readAfter(log, 10);
  for (const revision of [12, 13, 13]) confirm(revision);
  assert.deepEqual(nextOf(reader), [[], '13']);
  confirm(14);
  assert.deepEqual(nextOf(reader), [[], '14']);
  confirm(14);
  assert.equal(reader.take(), null);
  append(15);
  assert.deepEqual(nextOf(reader), [['15'], '15']);
});

test('the content is newest first, with the time of each batch, and says how far back it reaches', () => {
  const { log, append, confirm, now } = startLog();
  const shown = () => {
    const { batches, begunAtMs, sinceMs } = log.content();
    return { batches: batches.map(({ cursor, atMs }) => [cursor, atMs]), begunAtMs, sinceMs };
  };
  assert.deepEqual(shown(), { batches: [], begunAtMs: 1_000, sinceMs: 1_000 });
  now.ms = 2_000;
  append(11);
  now.ms = 3_000;
  confirm(12);
  append(13, 100);
  const batches = [
    ['13', 3_000],
    ['12', 3_000],
    ['11', 2_000],
  ];
  assert.deepEqual(shown(), { batches, begunAtMs: 1_000, sinceMs: 1_000 });
  now.ms = 4_000;
  append(14, 4_096);
  assert.deepEqual([shown().begunAtMs, shown().sinceMs, shown().batches.at(-1)], [1_000, 3_000, ['13', 4_000]]);
  log.restart('20');
  assert.deepEqual(shown(), { batches: [], begunAtMs: 4_000, sinceMs: 4_000 });
});

test('there is no reader for a revision older than the log', () => {
  const { log } = startLog();
  assert.equal(log.readAfter('9'), null);
  assert.notEqual(log.readAfter('10'), null);
});

test('revisions that are appended together stay apart, and none of them is dropped for the others', () => {
  const { log } = startLog();
  const revisions = Array.from({ length: 10_000 }, (_, n) => 11 + n);
  const reader = readAfter(log, 10);
  log.append(revisions.map((revision) => ({ revision: String(revision), events: [event(revision)] })));
  assert.deepEqual(nextOf(reader), [['11'], '11']);
  assert.deepEqual(nextOf(reader), [['12'], '12']);
  assert.deepEqual(nextOf(readAfter(log, 5_000)), [['5001'], '5001']);
});

test('a reader that is up to date gets later events of the same revision', () => {
  const { log, append } = startLog();
  append(11);
  const [after, here] = [readAfter(log, 11), log.readFrom(log.here())];
  append(11);
  assert.ok(here);
  assert.deepEqual(nextOf(after), [['11'], '11']);
  assert.deepEqual(nextOf(here), [['11'], '11']);
});

test('a reader ahead of the log gets no event twice, and its cursor never goes back', () => {
  const { log, append, confirm } = startLog();
  const reader = readAfter(log, 20);
  append(15);
  confirm(18);
  append(20);
  append(21, 100);
  assert.deepEqual(nextOf(reader), [Array(64).fill('21'), '20']);
  assert.deepEqual(nextOf(reader), [Array(36).fill('21'), '21']);
});

test('a reader that falls behind the log is cut off, and counted once', () => {
  const { log, append } = startLog();
  const [slow, quick] = [readAfter(log, 10), readAfter(log, 10)];
  for (let revision = 11; revision <= 11 + 4_096; revision += 1) {
    append(revision);
    nextOf(quick);
  }
  assert.throws(slow.take, (error) => {
    assert.ok(error instanceof SlowReaderError);
    assert.match(error.message, /^events are read too slowly: .* resume after revision 10$/);
    return true;
  });
  assert.throws(slow.take, SlowReaderError);
  assert.equal(log.slowReaders(), 1);
  assert.equal(log.readAfter('10'), null);
  assert.notEqual(log.readAfter('11'), null);
});

test('the log is bounded by its events, but keeps the last appended batch however large it is', () => {
  const { log, append } = startLog();
  const reader = readAfter(log, 10);
  append(11, 10_000);
  append(12);
  const sizes: number[] = [];
  let cursor: string | null = null;
  for (let received = 0; received < 10_000; received += sizes.at(-1) ?? 0) {
    assert.equal(cursor === '11', false, 'it is finished only with its last piece');
    const [events, after] = nextOf(reader);
    cursor = after;
    sizes.push(events.length);
  }
  assert.equal(cursor, '11');
  assert.equal(Math.max(...sizes), 64);
  append(13, 4_095);
  assert.equal(log.readAfter('10'), null);
  assert.deepEqual(nextOf(reader), [['12'], '12']);
});

test('a log that starts over ends its readers, and serves new ones', () => {
  const { log, append } = startLog();
  const [behind, waiting, position] = [readAfter(log, 10), readAfter(log, 11), log.here()];
  append(11);
  log.restart('5');
  assert.equal(waiting.take(), 'restarted');
  assert.equal(behind.take(), 'restarted');
  assert.equal(behind.isCurrent(), false);
  assert.equal(log.readFrom(position), null);
  append(6);
  assert.deepEqual(nextOf(readAfter(log, 5)), [['6'], '6']);
});

test('closing the log ends its readers', () => {
  const { log } = startLog();
  const reader = readAfter(log, 10);
  let heard = false;
  log.follow(() => {
    heard = true;
  });
  log.close();
  assert.deepEqual([reader.take(), heard], ['end', true]);
});
