import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventStream, createEventText } from '../../../src/http/routes/event-stream.ts';
import { EVERY_NODE } from '../../../src/record/filter.ts';
import { createEventLog, type EventLog } from '../../../src/registry/event-log.ts';
import { openReader } from '../../../src/registry/event-reader.ts';
import type { EventBatch, EventReader } from '../../../src/registry/event-source.ts';
import { createHold } from '../../../src/registry/hold.ts';

test('a heartbeat never sends a cursor before its events', async () => {
  const told: EventBatch = { events: [{ kind: 'synced', revision: '5', entries: [] }], cursor: '5' };
  const moved: EventBatch = { events: [], cursor: '9' };
  const batches = [told, moved];
  let heartbeatBetween = '';
  const reader: EventReader = {
    take() {
      // Both batches are read, but not sent yet. If the connection broke now, a cursor of 5 would skip an event.
      if (batches.length === 0) heartbeatBetween = stream.heartbeat();
      return batches.shift() ?? null;
    },
    whenReady() {},
    close() {},
  };
  const stream = createEventStream({
    reader,
    hold: (batch) => batch,
    filter: { kinds: null, nodes: EVERY_NODE },
    eventText: async () => createEventText('store', { wallMs: () => 0 }),
    since: '1',
    retryMs: 1_000,
  });
  const pieces = stream.pieces[Symbol.asyncIterator]();
  await pieces.next(); // retry
  const sent = await pieces.next();
  assert.match(String(sent.value), /^id: 5$/m);
  assert.equal(heartbeatBetween, ':\n\n');

  void pieces.next(); // the events are written, so the cursor may be sent
  assert.equal(stream.heartbeat(), 'id: 9\n\n');
});

test('a snapshot at the start of a stream keeps the id that the client has; one in mid-stream clears it', async () => {
  const piece = (revision: string, cursor: string | null = null): EventBatch => {
    return { events: [{ kind: 'synced', revision, entries: [] }], cursor };
  };
  const batches = [piece('5'), piece('6'), piece('7', '7'), piece('8')];
  const { pieces, heartbeat } = createEventStream({
    reader: { take: () => batches.shift() ?? null, whenReady() {}, close() {} },
    hold: (batch) => batch,
    filter: { kinds: null, nodes: EVERY_NODE },
    eventText: async () => createEventText('store', { wallMs: () => 0 }),
    since: '1',
    retryMs: 1_000,
  });
  const stream = pieces[Symbol.asyncIterator]();
  await stream.next(); // retry
  const text = String((await stream.next()).value);
  const lines = text.split('\n').filter((line) => /^id:|^event:/.test(line));
  const synced = 'event: rollcall.roll.synced';
  assert.deepEqual(lines, [synced, synced, synced, 'id: 7', 'id: ', synced]);
  assert.equal(heartbeat(), ':\n\n');
});

/** The stream of a client that resumes after revision 1, which is the newest of the log. */
function resumed(log: EventLog, hold: (batch: EventBatch) => EventBatch | null) {
  const restored: EventBatch = { events: [{ kind: 'synced', revision: '1', entries: [] }], cursor: null };
  const parts = {
    log,
    live: { uncertain: () => null, takeLost: () => false, view: () => null },
    catchUp: { resume: async () => assert.fail('the log has it'), count: () => 0 },
    snapshot: () => ({ batches: [restored], reader: log.readFrom(log.here()) }),
  };
  const { pieces } = createEventStream({
    reader: openReader(
      parts as unknown as Parameters<typeof openReader>[0],
      '1',
      new AbortController().signal,
      () => {},
    ),
    hold,
    filter: { kinds: null, nodes: EVERY_NODE },
    eventText: async () => createEventText('store', { wallMs: () => 0 }),
    since: '1',
    retryMs: 1_000,
  });
  return pieces[Symbol.asyncIterator]();
}

test('a stream that resumes in a quiet roll clears its id when the store is restored', async () => {
  for (const hold of [createHold(), (batch: EventBatch) => batch]) {
    const log = createEventLog({ wallMs: () => 0 });
    log.restart('1');
    const stream = resumed(log, hold);
    await stream.next(); // retry
    const next = stream.next();
    log.restart('1');
    assert.match(String((await next).value), /^id: 1\n\nid: \n\nevent: rollcall.roll.synced\n/);
  }
});

test('a change that comes while the client does not read is sent when it reads again, without another change', async () => {
  const log = createEventLog({ wallMs: () => 0 });
  log.restart('1');
  const append = (revision: string) => log.append([{ revision, events: [{ kind: 'synced', revision, entries: [] }] }]);
  const stream = resumed(log, (batch) => batch);
  await stream.next(); // retry
  const second = stream.next();
  setImmediate(() => append('2'));
  assert.match(String((await second).value), /^id: 2$/m);
  append('3');
  assert.match(String((await stream.next()).value), /^id: 3$/m);
});
