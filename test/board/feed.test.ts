import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createPageClock } from '../../src/board/attention.ts';
import { createBoardRoll } from '../../src/board/board-roll.ts';
import { auditAgeMs, ec2NowMs, type Feed, pageAgeMs, runFeed } from '../../src/board/feed.ts';
import { nodeAgeText } from '../../src/board/text.ts';
import { instanceJson } from '../../src/record/roll.ts';
import { sampleRecord } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const SELF = {
  version: '1',
  session: 'first',
  record: { clockSkewSeconds: -3_600 },
  lease: { store: 'memory:' },
  roll: { ageMs: 5, stale: false, uncertainty: null, lastError: null },
};
const AUDIT = { report: { agreeing: 1, differences: [], notes: [] }, ageMs: 60_000, stale: false, staleReason: null };
const DRAIN = { ec2InstanceId: 'i-1', phase: 'drained', cluster: null, reason: '', since: null };

/** An agent as the page sees it; the test says what each path answers. */
function setUp(t: TestContext) {
  const clock = simulatedClock();
  const roll = createBoardRoll();
  const asked: string[] = [];
  const streams: ReadableStreamDefaultController<Uint8Array>[] = [];
  const page = new EventTarget();
  let isHidden = false;
  const json = (body: unknown, status = 200) =>
    new Response(JSON.stringify(body), { status, headers: { date: new Date(clock.wallMs() + 60_000).toUTCString() } });
  /** @param first what comes with the head; '' for a proxy that holds the body back */
  const stream = (signal: AbortSignal, first = 'retry: 1000\n\n') => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        streams.push(controller);
        signal.addEventListener('abort', () => controller.error(signal.reason));
        if (first !== '') controller.enqueue(new TextEncoder().encode(first));
      },
    });
    return new Response(body, { status: 200 });
  };
  const agent = {
    asked,
    self: () => json(SELF),
    list: () => json({ containerInstances: [instanceJson({ record: sampleRecord(), presence: null })], revision: '7' }),
    status: () => json({ drains: [], draining: 0, notes: [] }),
    audit: () => json({ detail: 'no audit here' }, 404),
    events: (signal: AbortSignal): Response | Promise<Response> => stream(signal),
  };
  const monotonicMs = createPageClock(clock.monotonicMs, clock.wallMs);
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
        if (path === '/v1/status') return agent.status();
        if (path === '/v1/audit') return agent.audit();
        return agent.self();
      },
      sleep: clock.sleep,
      monotonicMs,
      wallMs: clock.wallMs,
      random: () => 0.5,
      isHidden: () => isHidden,
      hiddenChanges: (signal) =>
        new Promise((resolve) => {
          page.addEventListener('change', () => resolve(), { once: true, signal });
          signal.addEventListener('abort', () => resolve());
        }),
      onChange: (feed) => states.push(feed),
    },
    stop.signal,
  );
  running.catch(() => {});
  const last = () => states.at(-1) ?? assert.fail('nothing was read');
  const settle = async () => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  const send = async (text: string) => {
    streams.at(-1)?.enqueue(new TextEncoder().encode(text));
    await settle();
  };
  const pass = async (seconds: number, each: () => Promise<void> | void = () => {}) => {
    for (let second = 0; second < seconds; second += 1) {
      await clock.advance(1_000);
      await settle();
      await each();
    }
  };
  const hide = async (hidden: boolean) => {
    isHidden = hidden;
    page.dispatchEvent(new Event('change'));
    await settle();
  };
  const ageMs = () => pageAgeMs(last(), monotonicMs());
  const paths = (start: string) => asked.filter((path) => path.startsWith(start));
  return {
    ...{ clock, roll, agent, json, stream, streams, states, last, settle, send, pass, hide, ageMs, paths },
    monotonicMs,
    eventPaths: () => paths('/v1/events'),
    lists: () => paths('/v1/containerInstances').length,
  };
}

test('the roll is read once, and its events from that revision on', async (t) => {
  const { roll, last, settle, send, eventPaths } = setUp(t);
  await settle();
  assert.equal(last().phase, 'live');
  assert.equal(roll.nodes.size, 1);
  assert.deepEqual(eventPaths(), ['/v1/events?since=7']);
  assert.equal(last().clockOffsetMs, 60_000);
  await send('id: 9\n\n');
  assert.equal(roll.revision, '9');
});

test('a stream that breaks is opened again after its last id, and the page says so', async (t) => {
  const { clock, last, settle, send, streams, eventPaths, lists } = setUp(t);
  await settle();
  await send('id: 12\n\n');
  streams.at(-1)?.error(new TypeError('network error'));
  await settle();
  assert.deepEqual([last().phase, last().error], ['retrying', 'this agent does not answer']);
  await clock.advance(10_000);
  await settle();
  assert.equal(last().phase, 'live');
  assert.equal(last().error, null);
  assert.deepEqual(eventPaths(), ['/v1/events?since=7', '/v1/events?since=12']);
  assert.equal(lists(), 1);
});

test('an agent that was away for long is asked for what happened, not for the whole roll', async (t) => {
  const { agent, pass, settle, streams, eventPaths, lists, last } = setUp(t);
  await settle();
  const events = agent.events;
  agent.events = () => {
    throw new TypeError('connection refused');
  };
  streams.at(-1)?.error(new TypeError('network error'));
  await pass(120);
  assert.equal(last().phase, 'retrying');
  agent.events = events;
  await pass(10);
  assert.equal(last().phase, 'live');
  assert.equal(eventPaths().at(-1), '/v1/events?since=7');
  assert.equal(lists(), 1);
});

test('a silent stream is given up, and until then the age of the view counts its silence', async (t) => {
  const { pass, send, settle, ageMs, last, eventPaths, lists } = setUp(t);
  await settle();
  // Heartbeats: the view is as old as the agent says.
  await pass(30, async () => {
    await send(':\n\n');
    assert.ok((ageMs() ?? Infinity) < 3_000, `${ageMs()} ms`);
  });
  let oldest = 0;
  await pass(24, () => {
    assert.equal(last().phase, 'live');
    oldest = Math.max(oldest, ageMs() ?? 0);
  });
  assert.equal(oldest, 24_000);
  await pass(4);
  assert.equal(eventPaths().length, 2);
  assert.equal(lists(), 1);
});

test('a page that gets no stream of an agent that answers is not live, counts its age and reads the roll again', async (t) => {
  const { agent, json, pass, settle, last, ageMs, lists, states, eventPaths } = setUp(t);
  const events = agent.events;
  agent.events = () => json({ detail: 'all 1000 event readers of this agent are in use' }, 503);
  await settle();
  let oldest = 0;
  await pass(120, () => {
    assert.equal(last().phase, 'retrying');
    oldest = Math.max(oldest, ageMs() ?? 0);
  });
  assert.ok(states.every(({ phase }) => phase !== 'live'));
  assert.match(last().error ?? '', /all 1000 event readers/);
  assert.ok(oldest >= 20_000 && oldest <= 30_000, `${oldest} ms`);
  assert.ok(lists() >= 5 && lists() <= 7, `${lists()} lists`);
  agent.events = events;
  await pass(10);
  assert.equal(last().phase, 'live');
  assert.equal(eventPaths().at(-1), '/v1/events?since=7');
});

for (const held of ['body', 'head and body']) {
  test(`the same where a proxy holds back the ${held} of the stream`, async (t) => {
    const { agent, stream, pass, settle, ageMs, lists, states } = setUp(t);
    agent.events = (signal) => (held === 'body' ? stream(signal, '') : new Promise(() => {}));
    await settle();
    await pass(120, () => assert.ok((ageMs() ?? Infinity) <= 40_000, `${ageMs()} ms`));
    assert.ok(states.every(({ phase }) => phase !== 'live'));
    assert.ok(lists() >= 4, `${lists()} lists`);
  });
}

test('a computer that slept opens the stream anew, and the age of the view counts the sleep', async (t) => {
  const { clock, pass, settle, agent, stream, send, ageMs, last, eventPaths } = setUp(t);
  await settle();
  await send('id: 12\n\n');
  agent.events = (signal) => stream(signal, '');
  // The monotonic clock of most browsers stands still meanwhile.
  clock.jumpWall(3_600_000);
  assert.ok((ageMs() ?? 0) >= 3_600_000, `${ageMs()} ms`);
  await pass(1);
  assert.deepEqual(eventPaths(), ['/v1/events?since=7', '/v1/events?since=12']);
  assert.equal(last().phase, 'loading');
  assert.ok((ageMs() ?? 0) >= 3_600_000, `${ageMs()} ms`);
  await send(':\n\n');
  assert.equal(last().phase, 'live');
  assert.ok((ageMs() ?? Infinity) < 3_000, `${ageMs()} ms`);
});

test('a hidden page ends its stream after 30 s, asks nothing, and continues when it is seen', async (t) => {
  const { pass, settle, send, hide, agent, last, ageMs, streams, eventPaths, lists } = setUp(t);
  await settle();
  await send('id: 12\n\n');
  await hide(true);
  await pass(29, () => send(':\n\n'));
  assert.equal(last().phase, 'live');
  await pass(2);
  assert.equal(last().phase, 'paused');
  assert.throws(() => streams.at(-1)?.enqueue(new Uint8Array()), 'the stream is ended');
  const count = agent.asked.length;
  await pass(600);
  assert.equal(agent.asked.length, count);
  assert.ok((ageMs() ?? 0) >= 600_000, `${ageMs()} ms`);
  await hide(false);
  assert.equal(last().phase, 'live');
  assert.deepEqual(eventPaths(), ['/v1/events?since=7', '/v1/events?since=12']);
  assert.equal(lists(), 1);
});

test('a page that is seen again soon keeps its stream, unless that has missed a heartbeat', async (t) => {
  const { pass, settle, send, hide, eventPaths } = setUp(t);
  await settle();
  await hide(true);
  await pass(20, () => send(':\n\n'));
  await hide(false);
  assert.equal(eventPaths().length, 1);
  await hide(true);
  await pass(13);
  await hide(false);
  assert.equal(eventPaths().length, 2);
});

test('a revision that the store does not have makes the page read the whole roll again', async (t) => {
  const { clock, agent, json, pass, settle, last, streams, lists } = setUp(t);
  await settle();
  const events = agent.events;
  agent.events = () => json({ detail: 'since 7 is ahead' }, 400);
  streams.at(-1)?.close();
  await settle();
  await pass(5);
  agent.events = events;
  await clock.advance(20_000);
  await settle();
  assert.equal(last().phase, 'live');
  assert.ok(lists() >= 2);
});

test('a refused token ends the reading, so that the page can ask for another', async (t) => {
  const { clock, agent, json, settle, last } = setUp(t);
  const refuse = () => json({ detail: 'a token is needed' }, 401);
  Object.assign(agent, { self: refuse, list: refuse, events: refuse });
  await settle();
  assert.equal(last().phase, 'denied');
  const count = agent.asked.length;
  await clock.advance(60_000);
  await settle();
  assert.equal(agent.asked.length, count);
});

test('an agent without the continuous audit is asked for it once, and its next process once more', async (t) => {
  const { agent, json, pass, settle, last, paths } = setUp(t);
  await settle();
  await pass(40);
  assert.equal(paths('/v1/audit').length, 1);
  assert.equal(last().auditError, 'no audit here');
  assert.ok(paths('/v1/self').length >= 10);
  agent.self = () => json({ ...SELF, session: 'second' });
  agent.audit = () => json(AUDIT);
  await pass(20);
  assert.equal(last().audit?.ageMs, 60_000);
  assert.equal(last().auditError, null);
});

test('an audit and drains that can no longer be read age, and the page says why', async (t) => {
  const { agent, json, pass, settle, last, monotonicMs } = setUp(t);
  agent.audit = () => json(AUDIT);
  agent.status = () => json({ drains: [DRAIN], draining: 6_000, notes: [] });
  await settle();
  assert.deepEqual([last().drains?.length, last().draining, last().drainsError], [1, 6_000, null]);
  agent.audit = () => json({ detail: 'the store is away' }, 503);
  agent.status = () => json({ drains: null, draining: null, notes: ['a note', 'drains: permission denied'] });
  await pass(120);
  assert.equal(last().drains?.length, 1);
  assert.equal(last().drainsError, 'drains: permission denied');
  assert.equal(monotonicMs() - last().drainsAtMs, 120_000);
  assert.equal(last().auditError, 'the store is away');
  assert.equal(auditAgeMs(last(), monotonicMs()), 180_000);
  agent.status = () => json({ detail: 'the roll is not known' }, 503);
  await pass(10);
  assert.equal(last().drainsError, 'the roll is not known');
  agent.status = () => json({ drains: [], draining: 0, notes: [] });
  await pass(10);
  assert.deepEqual([last().drains, last().drainsError], [[], null]);
});

test("the ages of records are by EC2's clock, also where that of the agent is off", () => {
  const roll = { ageMs: 0, stale: false, uncertainty: null, lastError: null };
  const of = (record: { clockSkewSeconds: number | null } | null) => ({ ...SELF, roll, record });
  const nowMs = Date.parse('2026-01-01T11:00:00Z');
  assert.equal(ec2NowMs({ self: of({ clockSkewSeconds: -3_600 }) }, nowMs), Date.parse('2026-01-01T12:00:00Z'));
  for (const self of [null, of(null), of({ clockSkewSeconds: null })]) assert.equal(ec2NowMs({ self }, nowMs), nowMs);
  // That of its own node: both moved by the same.
  const record = { ec2InstanceId: 'i-00000001', clockSkewSeconds: -3_600 };
  assert.equal(nodeAgeText(record, '2026-01-01T10:55:00Z', ec2NowMs({ self: of(record) }, nowMs)), '5 min');
});
