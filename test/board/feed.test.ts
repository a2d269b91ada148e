import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createBoardRoll } from '../../src/board/board-roll.ts';
import { type Feed, runFeed } from '../../src/board/feed.ts';
import { instanceJson } from '../../src/record/roll.ts';
import { sampleRecord } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const SELF = {
  version: '1',
  lease: { store: 'memory:' },
  roll: { ageMs: 5, stale: false, uncertainty: null, lastError: null },
};

/** An agent as the page sees it; the test says what each path answers. */
function setUp(t: TestContext) {
  const clock = simulatedClock();
  const roll = createBoardRoll();
  const asked: string[] = [];
  const streams: ReadableStreamDefaultController<Uint8Array>[] = [];
  const json = (body: unknown, status = 200) =>
    new Response(JSON.stringify(body), { status, headers: { date: new Date(clock.wallMs() + 60_000).toUTCString() } });
  const agent = {
    asked,
    self: () => json(SELF),
    list: () => json({ containerInstances: [instanceJson({ record: sampleRecord(), presence: null })], revision: '7' }),
    audit: () => json({ detail: 'no audit here' }, 404),
    events: (signal: AbortSignal) => {
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          streams.push(controller);
          signal.addEventListener('abort', () => controller.error(signal.reason));
        },
      });
      return new Response(body, { status: 200 });
    },
  };
  const states: Feed[] = [];
  const stop = new AbortController();
  t.after(() => stop.abort(new Error('the test ended')));
  const running = runFeed(
    {
      roll,
      get: async (path, signal) => {
        asked.push(path);
        if (path.startsWith('/v1/events')) return agent.events(signal);
        if (path.startsWith('/v1/containerInstances')) return agent.list();
        if (path === '/v1/status') return json({ drains: [] });
        if (path === '/v1/audit') return agent.audit();
        return agent.self();
      },
      sleep: clock.sleep,
      monotonicMs: clock.monotonicMs,
      wallMs: clock.wallMs,
      random: () => 0.5,
      isHidden: () => false,
      onChange: (feed) => states.push(feed),
    },
    stop.signal,
  );
  running.catch(() => {});
  const last = () => states.at(-1);
  const settle = async () => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  const send = async (text: string) => {
    streams.at(-1)?.enqueue(new TextEncoder().encode(text));
    await settle();
  };
  return {
    clock,
    roll,
    agent,
    json,
    streams,
    last,
    settle,
    send,
    eventPaths: () => asked.filter((p) => /events/.test(p)),
  };
}

test('the roll is read once, and its events from that revision on', async (t) => {
  const { roll, last, settle, send, eventPaths } = setUp(t);
  await settle();
  assert.equal(last()?.phase, 'live');
  assert.equal(roll.nodes.size, 1);
  assert.deepEqual(eventPaths(), ['/v1/events?since=7']);
  assert.equal(last()?.clockOffsetMs, 60_000);
  await send('id: 9\n\n');
  assert.equal(roll.revision, '9');
});

test('a stream that breaks is opened again after its last id, and the page says so', async (t) => {
  const { clock, last, settle, send, streams, eventPaths } = setUp(t);
  await settle();
  await send('id: 12\n\n');
  streams.at(-1)?.error(new TypeError('network error'));
  await settle();
  assert.deepEqual([last()?.phase, last()?.error], ['retrying', 'this agent does not answer']);
  await clock.advance(10_000);
  await settle();
  assert.equal(last()?.phase, 'live');
  assert.equal(last()?.error, null);
  assert.deepEqual(eventPaths(), ['/v1/events?since=7', '/v1/events?since=12']);
});

test('a silent stream is given up', async (t) => {
  const { clock, settle, eventPaths } = setUp(t);
  await settle();
  for (let second = 0; second < 40; second += 1) {
    await clock.advance(1_000);
    await settle();
  }
  assert.ok(eventPaths().length >= 2, `${eventPaths().length} streams`);
});

test('a revision that the store does not have makes the page read the whole roll again', async (t) => {
  const { clock, agent, json, settle, last, streams } = setUp(t);
  await settle();
  const events = agent.events;
  agent.events = () => json({ detail: 'since 7 is ahead' }, 400);
  streams.at(-1)?.close();
  await settle();
  for (let second = 0; second < 5; second += 1) {
    await clock.advance(1_000);
    await settle();
  }
  agent.events = events;
  await clock.advance(20_000);
  await settle();
  assert.equal(last()?.phase, 'live');
  assert.ok(agent.asked.filter((path) => path.startsWith('/v1/containerInstances')).length >= 2);
});

test('a refused token ends the reading, so that the page can ask for another', async (t) => {
  const { clock, agent, json, settle, last } = setUp(t);
  const refuse = () => json({ detail: 'a token is needed' }, 401);
  Object.assign(agent, { self: refuse, list: refuse, events: refuse });
  await settle();
  assert.equal(last()?.phase, 'denied');
  const count = agent.asked.length;
  await clock.advance(60_000);
  await settle();
  assert.equal(agent.asked.length, count);
});

test('an agent without the continuous audit is asked for it once', async (t) => {
  const { clock, agent, settle, last } = setUp(t);
  for (let second = 0; second < 40; second += 1) {
    await settle();
    await clock.advance(1_000);
  }
  assert.equal(agent.asked.filter((path) => path === '/v1/audit').length, 1);
  assert.equal(last()?.auditError, 'no audit here');
  assert.ok(agent.asked.filter((path) => path === '/v1/self').length >= 10);
});
