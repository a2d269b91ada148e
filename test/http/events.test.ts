import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type EventsRouteOptions, events } from '../../src/http/routes/event-stream.ts';
import { type HttpServerOptions, startHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { InstanceEvent, RollEvent } from '../../src/record/events.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { FutureRevisionError, SlowReaderError } from '../../src/registry/event-source.ts';
import { StoreError } from '../../src/store/store-errors.ts';
import { timed } from '../support/machine-time.ts';
import { rawExchange } from '../support/raw-exchange.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { fakeFeed } from './fake-feed.ts';
import { openSse } from './sse-reader.ts';

const PRESENCE = { session: 'session-a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
const WALL_MS = Date.UTC(2026, 0, 1);

function entry(n: number, overrides = {}): RollEntry {
  return { record: sampleRecord({ ec2InstanceId: sampleInstanceId(n), ...overrides }), presence: PRESENCE };
}

function registered(n: number, revision: string, overrides = {}): InstanceEvent {
  const after = entry(n, overrides);
  return { kind: 'registered', revision, instanceId: sampleInstanceId(n), before: null, after, snapshot: false };
}

interface Options {
  readonly route?: Partial<EventsRouteOptions>;
  readonly limits?: HttpServerOptions['limits'];
}

async function setUp(t: TestContext, { route = {}, limits = {} }: Options = {}) {
  const feed = fakeFeed();
  const errors: unknown[] = [];
  let writes = 0;
  const clock = {
    wallMs() {
      writes += 1;
      return WALL_MS;
    },
  };
  const server = await startHttpServer({
    listen: { host: '127.0.0.1', port: 0 },
    routes: {
      '/v1/events': events({ feed, clock, random: () => 0.25, ...route }),
      '/healthz': () => ({ status: 200, contentType: 'text/plain', body: 'ok' }),
    },
    clock: systemClock,
    onError: (error) => errors.push(error),
    limits,
  });
  t.after(async () => {
    await server.close();
    assert.deepEqual(errors, []);
  });
  const url = `${server.url}/v1/events`;
  const ask = async (query = '', options = {}) => {
    const req = request(`${url}${query}`, { agent: false, ...options });
    req.end();
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of res) text += chunk;
    return { status: res.statusCode, headers: res.headers, text };
  };
  return { feed, server, url, ask, errors, writes: () => writes };
}

/** Waits until a condition of the server holds; the test's timeout is the limit. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(2);
}

test('an event has its type, its CloudEvent on one line, and the cursor after the last event of a batch', async (t) => {
  const { feed, url } = await setUp(t);
  const reader = await openSse(t, url);
  assert.equal(reader.headers['content-type'], 'text/event-stream');
  assert.equal(reader.headers['cache-control'], 'no-store');
  feed.tell({ events: [registered(1, '7'), registered(2, '7', { labels: { note: 'two\nlines' } })], cursor: '7' });
  await reader.until(() => reader.told().length === 2);
  const lines = reader.text().split('\n');
  assert.deepEqual(lines.slice(0, 3), ['retry: 1500', '', 'event: rollcall.instance.registered']);
  assert.deepEqual(
    lines.slice(2).map((line) => line.replace(/:.*/, '')),
    ['event', 'data', '', 'event', 'data', 'id', '', ''],
  );
  const [first, second] = reader.told();
  assert.deepEqual([first?.lastEventId, second?.lastEventId], ['', '7']);
  const told = JSON.parse(second?.data ?? '');
  assert.deepEqual(
    [told.specversion, told.id, told.source, told.subject, told.time, told.data.record.labels.note],
    [
      '1.0',
      `7/${sampleInstanceId(2)}/registered`,
      'rollcall:store-a',
      sampleInstanceId(2),
      '2026-01-01T00:00:00.000Z',
      'two\nlines',
    ],
  );
});

test('the reader resumes after Last-Event-ID or, without it, after since', async (t) => {
  const { feed, url } = await setUp(t);
  await openSse(t, url);
  await openSse(t, `${url}?since=5`);
  await openSse(t, `${url}?since=5`, { 'Last-Event-ID': '8' });
  assert.deepEqual(
    feed.asked.map(({ since }) => since),
    [null, '5', '8'],
  );
});

test('filters drop events but never the cursor of their batch', async (t) => {
  const { feed, url } = await setUp(t, { limits: { socketIdleMs: 600 } });
  const reader = await openSse(t, `${url}?cluster=demo&types=registered`);
  feed.tell({ events: [registered(1, '7'), registered(2, '7', { cluster: 'other' })], cursor: '7' });
  await reader.until(() => reader.told().length === 1);
  assert.equal(reader.told()[0]?.lastEventId, '7');
  feed.tell({ events: [{ kind: 'synced', revision: '9', entries: [entry(1)] }], cursor: '9' });
  await reader.until(() => reader.lastEventId() === '9');
  assert.equal(reader.told().length, 1);
});

test('a synced event names only the nodes of the cluster in the filter', async (t) => {
  const { feed, url } = await setUp(t);
  const reader = await openSse(t, `${url}?cluster=demo`);
  feed.tell({
    events: [{ kind: 'synced', revision: '9', entries: [entry(1), entry(2, { cluster: 'b' })] }],
    cursor: '9',
  });
  await reader.until(() => reader.told().length === 1);
  assert.deepEqual(JSON.parse(reader.told()[0]?.data ?? '').data, { instanceIds: [sampleInstanceId(1)] });
});

test('a cursor without events is sent with the heartbeat, which is otherwise a comment', async (t) => {
  const { feed, url } = await setUp(t, { limits: { socketIdleMs: 600 } });
  const reader = await openSse(t, url);
  for (let cursor = 10; cursor <= 500; cursor += 1) feed.tell({ events: [], cursor: String(cursor) });
  await reader.until(() => reader.lastEventId() === '500' && reader.text().endsWith('\n:\n\n'));
  assert.ok(reader.text().split('id:').length < 10, 'a block for each cursor');
  assert.deepEqual(reader.told(), []);
});

test('batches that are ready together are sent in order, and a cursor never before its events', async (t) => {
  const { feed, url } = await setUp(t);
  const reader = await openSse(t, url);
  for (let revision = 10; revision < 110; revision += 1) {
    feed.tell({ events: [registered(revision, `${revision}`)], cursor: `${revision}` });
    feed.tell({ events: [], cursor: `${revision}` });
  }
  await reader.until(() => reader.told().length === 100);
  assert.deepEqual(
    reader.told().map(({ data, lastEventId }) => [JSON.parse(data).revision, lastEventId]),
    Array.from({ length: 100 }, (_, n) => [`${n + 10}`, `${n + 10}`]),
  );
});

test('a snapshot in mid-stream clears the last event id until it is complete', async (t) => {
  const { feed, url } = await setUp(t);
  let storeId = 'store-a';
  feed.storeId = async () => storeId;
  const reader = await openSse(t, `${url}?since=90`);
  feed.tell({ events: [registered(1, '95')], cursor: '95' });
  await reader.until(() => reader.lastEventId() === '95');
  storeId = 'store-b';
  const restated: RollEvent = { ...registered(1, '3'), snapshot: true };
  feed.tell({ events: [restated, { ...restated, instanceId: sampleInstanceId(3) }], cursor: null });
  feed.tell({ events: [{ ...restated, instanceId: sampleInstanceId(2) }], cursor: null });
  feed.tell({ events: [{ kind: 'synced', revision: '3', entries: [] }], cursor: '3' });
  await reader.until(() => reader.told().length === 5);
  assert.deepEqual(
    reader.told().map(({ lastEventId }) => lastEventId),
    ['95', '', '', '', '3'],
  );
  assert.equal(reader.text().split('\nid:').length, 4, 'an id line more than needed');
  // The store was restored from a backup, so its events must have another id.
  assert.deepEqual(
    reader.told().map(({ data }) => JSON.parse(data).source),
    ['rollcall:store-a', ...Array.from({ length: 4 }, () => 'rollcall:store-b')],
  );
});

test('an event is serialized once for all its readers', async (t) => {
  const { feed, url, writes } = await setUp(t);
  const readers = await Promise.all(Array.from({ length: 20 }, () => openSse(t, url)));
  feed.tell({ events: [registered(1, '7')], cursor: '7' });
  for (const reader of readers) await reader.until(() => reader.told().length === 1);
  assert.equal(writes(), 1);
});

test('an invalid query is a 400 with the value, and opens no stream', async (t) => {
  const { feed, ask } = await setUp(t);
  for (const [query, headers, detail] of [
    ['?since=x1', {}, /since "x1" is not a revision/],
    ['', { 'Last-Event-ID': 'x2' }, /Last-Event-ID "x2" is not a revision/],
    ['?types=died', {}, /types "died" is not known; allowed: registered/],
    ['?colour=red', {}, /unknown parameter "colour"; allowed: since, types, uncertain/],
  ] as const) {
    const { status, headers: answered, text } = await ask(query, { headers });
    assert.deepEqual([status, answered['content-type']], [400, 'application/problem+json'], query);
    assert.match(JSON.parse(text).detail, detail);
  }
  assert.deepEqual(feed.asked, []);
  feed.refusal = new FutureRevisionError('99', '42');
  const future = await ask('?since=99');
  assert.equal(future.status, 400);
  assert.match(JSON.parse(future.text).detail, /^resume after revision 99: the store is at 42/);
});

test('if the store does not answer and no roll is known the answer is a 503 with Retry-After', async (t) => {
  const { feed, ask } = await setUp(t);
  feed.refusal = new StoreError('the roll is not known', { retryable: true });
  const { status, headers, text } = await ask();
  assert.deepEqual([status, headers['retry-after']], [503, '5']);
  assert.equal(JSON.parse(text).detail, 'the roll is not known');
});

test('HEAD has the headers of GET and opens no stream', async (t) => {
  const { feed, ask } = await setUp(t);
  const { status, headers, text } = await ask('', { method: 'HEAD' });
  assert.deepEqual([status, headers['content-type'], text], [200, 'text/event-stream', '']);
  assert.equal((await ask('?since=x', { method: 'HEAD' })).status, 400);
  assert.deepEqual(feed.asked, []);
});

test('a slow reader gets an error event with the cursor to resume after, and its stream ends', async (t) => {
  const { feed, url } = await setUp(t);
  const reader = await openSse(t, url);
  feed.tell({ events: [registered(1, '7')], cursor: '7' });
  feed.fail(new SlowReaderError('too slow'));
  await reader.until(() => reader.ended() !== null);
  assert.equal(reader.ended(), 'whole');
  const last = reader.told().at(-1);
  assert.equal(last?.type, 'error');
  const told = { type: 'about:blank', title: 'Slow reader', detail: 'too slow', cursor: '7' };
  assert.deepEqual(JSON.parse(last?.data ?? ''), told);
  assert.equal(reader.told().length, 2);
});

test('a stream whose source fails otherwise is cut off, so that it does not look complete', async (t) => {
  const { feed, url, errors } = await setUp(t);
  const reader = await openSse(t, url);
  feed.fail(new Error('a defect'));
  await reader.until(() => reader.ended() !== null);
  assert.equal(reader.ended(), 'cut');
  assert.deepEqual(errors.splice(0).map(String), ['Error: a defect']);
});

test('beyond the limit a reader gets a 503, and a place that becomes free is used again', async (t) => {
  const { feed, url, ask } = await setUp(t, { route: { maxReaders: 2 } });
  const first = await openSse(t, url);
  await openSse(t, url);
  const refused = await ask();
  assert.deepEqual([refused.status, refused.headers['retry-after']], [503, '5']);
  assert.match(JSON.parse(refused.text).detail, /^all 2 event readers of this agent are in use/);
  first.leave();
  await until(() => feed.readers() === 1);
  await openSse(t, url);
});

test('a reader that disconnects is released, also before its stream has started', async (t) => {
  const { feed, url } = await setUp(t, { route: { maxReaders: 1 } });
  const reader = await openSse(t, url);
  reader.leave();
  await until(() => feed.readers() === 0);
  const opened = Promise.withResolvers<void>();
  const { storeId } = feed;
  feed.storeId = async () => {
    opened.resolve();
    return new Promise(() => {});
  };
  const req = request(url, { agent: false });
  req.on('error', () => {});
  req.end();
  await opened.promise;
  feed.storeId = storeId;
  req.destroy();
  // The only place is free again after the server has seen the reader disconnect.
  let again: unknown = null;
  while (!again) again = await openSse(t, url).catch(() => null);
});

test('a stream outlasts all request limits while heartbeats are sent', async (t) => {
  const limits = {
    headersTimeoutMs: 30,
    requestTimeoutMs: 30,
    keepAliveTimeoutMs: 30,
    checkIntervalMs: 10,
    socketIdleMs: 600,
    maxRequestsPerSocket: 1,
  };
  const { feed, url } = await setUp(t, { limits });
  const reader = await openSse(t, url);
  await reader.until(() => reader.text().split(':\n\n').length > 10);
  feed.tell({ events: [registered(1, '7')], cursor: '7' });
  await reader.until(() => reader.told().length === 1);
  assert.equal(reader.ended(), null);
});

test('a reader that does not read costs bounded memory and is disconnected, and others continue', async (t) => {
  const { feed, url } = await setUp(t, { limits: { socketIdleMs: 1_500 } });
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  socket.pause();
  socket.write('GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await until(() => feed.readers() === 1);
  const note = 'x'.repeat(64 * 1024);
  for (let revision = 1; revision <= 1_000; revision += 1) {
    feed.tell({ events: [registered(1, `${revision}`, { labels: { note } })], cursor: `${revision}` });
  }
  const other = await openSse(t, url);
  // Of 64 MB only the kernel's buffers are filled; the rest stays in the source.
  let before = -1;
  for (let still = 0; still < 20; still = feed.untaken() === before ? still + 1 : 0) {
    before = feed.untaken();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(feed.untaken() > 700, `${1_000 - feed.untaken()} batches were read without a reader`);
  await until(() => feed.readers() === 1);
  feed.tell({ events: [registered(2, '2000')], cursor: '2000' });
  await other.until(() => other.told().length === 1);
});

test('a reader that disconnects during an event is not an error', async (t) => {
  const { feed, url } = await setUp(t);
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.pause();
  socket.write('GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await until(() => feed.readers() === 1);
  // More than the kernel's buffers hold.
  const note = 'x'.repeat(16 * 1024 * 1024);
  feed.tell({ events: [registered(1, '7', { labels: { note } })], cursor: '7' });
  await until(() => feed.untaken() === 0);
  for (let turns = 0; turns < 10; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  socket.resetAndDestroy();
  await until(() => feed.readers() === 0);
});

test('when the server closes, streams end complete and at once, without the grace', async (t) => {
  const { feed, url, server } = await setUp(t, { limits: { closeGraceMs: 60_000 } });
  const readers = await Promise.all(Array.from({ length: 5 }, () => openSse(t, url)));
  // A client that keeps its connection alive.
  const kept = rawExchange(server.url, 'GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await until(() => feed.readers() === 6);
  await server.close();
  assert.match(await kept, /\r\n0\r\n\r\n$/);
  for (const reader of readers) {
    await reader.until(() => reader.ended() !== null);
    assert.equal(reader.ended(), 'whole');
  }
  assert.equal(feed.readers(), 0);
});

test('when a source ends, its streams end complete', async (t) => {
  const { feed, url } = await setUp(t);
  const reader = await openSse(t, url);
  feed.end();
  await reader.until(() => reader.ended() !== null);
  assert.equal(reader.ended(), 'whole');
});

test('a thousand readers get an event soon, and probes are answered meanwhile', async (t) => {
  const { feed, url, server, ask } = await setUp(t);
  const texts: string[] = [];
  for (let n = 0; n < 1_000; n += 1) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    t.after(() => socket.destroy());
    socket.setEncoding('utf8');
    texts.push('');
    socket.on('data', (text: string) => {
      texts[n] += text;
    });
    socket.write('GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n');
  }
  await until(() => texts.every((text) => text.includes('retry:')));
  assert.equal((await ask()).status, 503);
  feed.tell({ events: [registered(1, '7')], cursor: '7' });
  const [, tookMs] = await timed(until(() => texts.every((text) => text.includes('id: 7\n'))));
  // About 100 ms on an idle machine.
  assert.ok(tookMs < 20_000, `${tookMs} ms`);
  assert.match(
    await rawExchange(server.url, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
    / 200 OK/,
  );
});

test('with uncertain=hold an uncertain loss comes after certain, and a reader without it gets it at once', async (t) => {
  const { feed, url } = await setUp(t);
  const [facts, holding] = [await openSse(t, url), await openSse(t, `${url}?uncertain=hold&since=6`)];
  const before = entry(1);
  const after = { ...before, presence: null };
  const uncertain = { before, revision: '7', after: '6', fate: { decided: null } };
  const lost = {
    kind: 'lost',
    revision: '7',
    instanceId: sampleInstanceId(1),
    before,
    after,
    snapshot: false,
  } as const;
  feed.tell({ events: [{ ...lost, uncertain }], cursor: '7' });
  feed.tell({ events: [registered(2, '8')], cursor: '8' });
  await holding.until(() => holding.told().length === 1);
  feed.tell({ events: [{ kind: 'certain', revision: '8', upTo: '8', part: 0, returned: 0, lost: 1 }], cursor: '8' });
  await Promise.all([facts.until(() => facts.told().length === 3), holding.until(() => holding.told().length === 3)]);
  const brief = (reader: typeof facts) =>
    reader.told().map(({ data, lastEventId }) => {
      const { id, data: about } = JSON.parse(data);
      return `${id} ${about.uncertain ?? ''} after ${lastEventId}`;
    });
  assert.deepEqual(brief(facts), [
    '7/i-00000001/lost true after 7',
    '8/i-00000002/registered  after 8',
    '8/certain  after 8',
  ]);
  assert.deepEqual(brief(holding), [
    '8/i-00000002/registered  after 6',
    '8/certain  after 6',
    '7/i-00000001/lost  after 8',
  ]);
});
