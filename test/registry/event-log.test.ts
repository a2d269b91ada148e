import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RollEvent } from '../../src/record/events.ts';
import { createEventLog, type LogReader } from '../../src/registry/event-log.ts';
import { SlowReaderError } from '../../src/registry/event-source.ts';

const NEVER = new AbortController().signal;

function event(revision: number): RollEvent {
  return { kind: 'certain', revision: String(revision), part: 0, returned: 0, lost: 0 };
}

/** A log that goes on from revision 10. */
function startLog() {
  const log = createEventLog();
  log.restart('10');
  const append = (revision: number, cursor = revision, events = 1) =>
    log.append(String(revision), { events: Array(events).fill(event(revision)), cursor: String(cursor) });
  return { log, append };
}

function readAfter(log: ReturnType<typeof createEventLog>, revision: number): LogReader {
  const reader = log.readAfter(String(revision));
  assert.ok(reader);
  return reader;
}

async function nextOf(reader: LogReader): Promise<readonly [readonly string[], string | null]> {
  const batch = await reader.next(NEVER);
  assert.ok(batch && batch !== 'restarted');
  return [batch.events.map(({ revision }) => revision), batch.cursor];
}

test('each reader gets what follows its revision, in order, at its own pace', async () => {
  const { log, append } = startLog();
  for (const revision of [11, 13, 14]) append(revision);
  const [early, late] = [readAfter(log, 10), readAfter(log, 12)];
  assert.deepEqual(await nextOf(early), [['11'], '11']);
  assert.deepEqual(await nextOf(late), [['13'], '13']);
  assert.deepEqual(await nextOf(early), [['13'], '13']);
  assert.deepEqual(await nextOf(early), [['14'], '14']);
});

test('a reader that waits is woken by the next batch, and lets go by its signal', async () => {
  const { log, append } = startLog();
  const gone = new AbortController();
  const reader = readAfter(log, 10);
  const leaving = assert.rejects(readAfter(log, 10).next(gone.signal), /left/);
  const waiting = nextOf(reader);
  gone.abort(new Error('left'));
  await leaving;
  append(11);
  assert.deepEqual(await waiting, [['11'], '11']);
});

test('confirmations without news move the cursor on, and only the newest is told', async () => {
  const { log, append } = startLog();
  const reader = readAfter(log, 10);
  for (const revision of ['12', '13', '13']) log.confirm(revision, revision);
  assert.deepEqual(await nextOf(reader), [[], '13']);
  const confirmed = nextOf(reader);
  log.confirm('14', '14');
  assert.deepEqual(await confirmed, [[], '14']);
  const waiting = nextOf(reader);
  log.confirm('14', '14');
  append(15);
  assert.deepEqual(await waiting, [['15'], '15']);
});

test('a revision older than what is kept has no reader', () => {
  const { log } = startLog();
  assert.equal(log.readAfter('9'), null);
  assert.notEqual(log.readAfter('10'), null);
});

test('a cursor that stays behind is told with each batch, and resuming after it tells again what followed', async () => {
  const { log, append } = startLog();
  append(11, 10);
  append(12, 10);
  append(12, 12);
  const reader = readAfter(log, 10);
  assert.deepEqual(await nextOf(reader), [['11'], '10']);
  assert.deepEqual(await nextOf(readAfter(log, 10)), [['11'], '10']);
  assert.deepEqual(await nextOf(reader), [['12'], '10']);
  assert.deepEqual(await nextOf(reader), [['12'], '12']);
});

test('a reader that is up to date gets what becomes known later at the same revision', async () => {
  const { log, append } = startLog();
  append(11);
  const [after, here] = [readAfter(log, 11), log.readFrom(log.here())];
  append(11);
  assert.ok(here);
  assert.deepEqual(await nextOf(after), [['11'], '11']);
  assert.deepEqual(await nextOf(here), [['11'], '11']);
});

test('a reader ahead of the log is told nothing it had, and its cursor never goes back', async () => {
  const { log, append } = startLog();
  const reader = readAfter(log, 20);
  append(15);
  log.confirm('18', '18');
  append(20);
  append(21, 19);
  assert.deepEqual(await nextOf(reader), [['21'], '20']);
});

test('a reader that falls behind what is kept is cut off, and counted once', async () => {
  const { log, append } = startLog();
  const [slow, quick] = [readAfter(log, 10), readAfter(log, 10)];
  for (let revision = 11; revision <= 11 + 4_096; revision += 1) {
    append(revision);
    await nextOf(quick);
  }
  await assert.rejects(slow.next(NEVER), (error) => {
    assert.ok(error instanceof SlowReaderError);
    assert.match(error.message, /^events are read too slowly: .* resume after revision 10$/);
    return true;
  });
  await assert.rejects(slow.next(NEVER), SlowReaderError);
  assert.equal(log.slowReaders(), 1);
  assert.equal(log.readAfter('10'), null);
  assert.notEqual(log.readAfter('11'), null);
});

test('what is kept is bounded by its events, but what was appended last is there for everybody however large it is', async () => {
  const { log, append } = startLog();
  const reader = readAfter(log, 10);
  append(11, 11, 10_000);
  append(12);
  const sizes: number[] = [];
  let cursor: string | null = null;
  for (let told = 0; told < 10_000; told += sizes.at(-1) ?? 0) {
    assert.equal(cursor === '11', false, 'it is finished only with its last piece');
    const [events, after] = await nextOf(reader);
    cursor = after;
    sizes.push(events.length);
  }
  assert.equal(cursor, '11');
  assert.equal(Math.max(...sizes), 64);
  append(13, 13, 4_095);
  assert.equal(log.readAfter('10'), null);
  assert.deepEqual(await nextOf(reader), [['12'], '12']);
});

test('a log that starts over tells its readers so, and goes on with new ones', async () => {
  const { log, append } = startLog();
  const [behind, waiting, position] = [readAfter(log, 10), readAfter(log, 11), log.here()];
  const told = waiting.next(NEVER);
  append(11);
  log.restart('5');
  assert.equal(await told, 'restarted');
  assert.equal(await behind.next(NEVER), 'restarted');
  assert.equal(behind.isCurrent(), false);
  assert.equal(log.readFrom(position), null);
  append(6);
  assert.deepEqual(await nextOf(readAfter(log, 5)), [['6'], '6']);
});

test('a log is untouched until somebody reads it, where nothing had been appended, and until it starts over', () => {
  const { log, append } = startLog();
  const begin = log.here();
  log.confirm('11', '11');
  append(12);
  assert.equal(log.isUntouched(begin), true);
  assert.equal(log.isUntouched(log.here()), false);
  readAfter(log, 12);
  assert.equal(log.isUntouched(begin), false);
  log.restart('13');
  assert.equal(log.isUntouched(begin), false);
  assert.equal(log.isUntouched(log.here()), true);
});

test('a log that is closed ends its readers', async () => {
  const { log } = startLog();
  const waiting = readAfter(log, 10).next(NEVER);
  log.close();
  assert.equal(await waiting, null);
});
