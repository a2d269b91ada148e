import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createBoardRoll, type EventJson, type EventLine } from '../../src/board/board-roll.ts';
import { createNodeEvents } from '../../src/board/node-history.ts';
import { cloudEvent } from '../../src/record/cloud-event.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const ID = sampleInstanceId(1);
const BEGUN = '2026-01-01T00:00:00.000Z';

/** An event of a node, as it comes over the wire. */
function event(revision: number, n = 1): EventJson {
  const instanceId = sampleInstanceId(n);
  const [before, after] = ['a', 'b'].map((role) => ({
    record: sampleRecord({ ec2InstanceId: instanceId, labels: { role } }),
    presence: null,
  }));
  const happened = { kind: 'updated', revision: String(revision), instanceId, snapshot: false } as const;
  const whole = cloudEvent(
    { ...happened, before: before ?? null, after: after ?? null },
    'store',
    Date.parse(BEGUN) + revision,
  );
  return JSON.parse(JSON.stringify(whole));
}

interface Log {
  readonly events: readonly EventJson[];
  readonly omitted?: number;
  readonly since?: string;
  readonly begun?: string;
}

/** The page of a node beside an agent whose answers the test gives. */
function setUp(t: TestContext) {
  const clock = simulatedClock();
  const asked: { path: string; answer: (response: Response | Error) => void }[] = [];
  const page = { isHidden: false, changes: 0, wake: () => {} };
  const reader = createNodeEvents({
    get: (path, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        asked.push({ path, answer: (each) => (each instanceof Error ? reject(each) : resolve(each)) });
      }),
    sleep: clock.sleep,
    wallMs: clock.wallMs,
    isSeen: () =>
      new Promise((resolve) => {
        page.wake = resolve;
        if (!page.isHidden) resolve();
      }),
    onChange: () => {
      page.changes += 1;
    },
  });
  const roll = createBoardRoll(reader.add);
  t.after(() => reader.open(null, []));
  const settle = async () => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  const respond = async (response: Response | Error) => {
    asked.at(-1)?.answer(response);
    await settle();
  };
  return {
    ...{ clock, asked, page, reader, roll, settle, respond },
    answer: (log: Log) => respond(Response.json({ omitted: 0, since: BEGUN, begun: BEGUN, ...log })),
    refuse: (status: number, detail: string) => respond(Response.json({ detail }, { status })),
    shown: () => reader.shown() ?? assert.fail('no node is shown'),
    revisions: (lines: readonly EventLine[]) => lines.map(({ id }) => Number.parseInt(id, 10)),
  };
}

test('the page of a node has what happened before it was opened, and goes on with what happens, each once', async (t) => {
  const { roll, reader, asked, answer, shown, revisions, settle } = setUp(t);
  for (const each of [event(7), event(8, 2)]) roll.apply(each);
  reader.open(ID, roll.lines);
  reader.open(ID, roll.lines);
  assert.deepEqual(
    asked.map(({ path }) => path),
    [`/v1/containerInstances/${ID}/events?limit=100`],
  );
  assert.deepEqual(revisions(shown().lines), [7]);
  // Two come while the agent answers: one is in the answer already.
  for (const each of [event(9), event(10), event(11, 2)]) roll.apply(each);
  await answer({ events: [event(9), event(7), event(5)] });
  assert.deepEqual(revisions(shown().lines), [10, 9, 7, 5]);
  assert.deepEqual(shown().log, { since: BEGUN, begun: BEGUN, omitted: 0 });
  // The agent sends an event again where it cannot know that it has arrived.
  for (const each of [event(10), event(12)]) roll.apply(each);
  assert.deepEqual(revisions(shown().lines), [12, 10, 9, 7, 5]);
  assert.deepEqual([shown().lines[0]?.text, shown().error], ['labels', null]);
  await settle();
  assert.equal(asked.length, 1);
  reader.open(sampleInstanceId(2), roll.lines);
  assert.deepEqual(revisions(shown().lines), [11, 8]);
  reader.open(null, roll.lines);
  assert.equal(reader.shown(), null);
});

test('a log that was begun anew is kept apart from what the page has seen itself', async (t) => {
  const { roll, reader, answer, shown, revisions } = setUp(t);
  reader.open(ID, []);
  await answer({ events: [event(5)] });
  roll.apply(event(6));
  reader.readAgain();
  roll.apply(event(9));
  const begun = '2026-01-01T01:00:00.000Z';
  await answer({ events: [event(8)], since: begun, begun });
  assert.deepEqual(
    [revisions(shown().lines), revisions(shown().earlier)],
    [
      [9, 8],
      [6, 5],
    ],
  );
  assert.equal(shown().log?.begun, begun);
  roll.apply(event(5));
  assert.deepEqual(revisions(shown().lines), [9, 8]);
  // The same once more: nothing is lost, nothing doubled.
  reader.readAgain();
  await answer({ events: [event(9), event(8)], since: begun, begun });
  assert.deepEqual(
    [revisions(shown().lines), revisions(shown().earlier)],
    [
      [9, 8],
      [6, 5],
    ],
  );
});

test('the lines are bounded, and those that are not shown are counted', async (t) => {
  const { roll, reader, answer, shown, revisions } = setUp(t);
  reader.open(ID, []);
  const events = Array.from({ length: 100 }, (_, n) => event(200 - n));
  await answer({ events, omitted: 3 });
  roll.apply(event(201));
  assert.equal(shown().lines.length, 100);
  assert.deepEqual(revisions(shown().lines.slice(0, 2)), [201, 200]);
  assert.equal(shown().log?.omitted, 4);
  reader.readAgain();
  await answer({ events: [event(201), ...events.slice(0, 99)], omitted: 4 });
  assert.deepEqual([shown().lines.length, shown().earlier.length, shown().log?.omitted], [100, 0, 4]);
});

test('an agent of an earlier version is named as such, and asked again only when the page connects anew', async (t) => {
  const { roll, clock, reader, asked, refuse, answer, shown, revisions, settle } = setUp(t);
  reader.open(ID, []);
  await refuse(404, 'unknown path; / lists the paths');
  assert.deepEqual(
    [shown().error, shown().log],
    ['this agent is of a version that does not tell what happened before', null],
  );
  roll.apply(event(7));
  assert.deepEqual(revisions(shown().lines), [7]);
  await clock.advance(60_000);
  await settle();
  assert.equal(asked.length, 1);
  reader.readAgain();
  await answer({ events: [event(7), event(6)] });
  assert.deepEqual([revisions(shown().lines), shown().error], [[7, 6], null]);
});

test('a failure is said and tried again, not while the page is hidden', async (t) => {
  const { clock, page, reader, asked, refuse, respond, answer, shown, settle } = setUp(t);
  reader.open(ID, []);
  await refuse(503, 'the roll is not known');
  assert.equal(shown().error, 'the roll is not known');
  const after = async () => {
    await clock.advance(5_000);
    await settle();
    return asked.length;
  };
  assert.equal(await after(), 2);
  await respond(new TypeError('Failed to fetch'));
  assert.equal(shown().error, 'this agent does not answer');
  page.isHidden = true;
  assert.equal(await after(), 2);
  page.wake();
  await settle();
  assert.equal(asked.length, 3);
  await answer({ events: [] });
  assert.deepEqual([shown().error, shown().lines], [null, []]);
  assert.equal(await after(), 3);
  // What was read of it stays true.
  reader.readAgain();
  await refuse(503, 'the roll is not known');
  assert.deepEqual([shown().error, shown().log?.since], ['the roll is not known', BEGUN]);
});

test('what is no instance id is not asked for, and an answer for a node that is left changes nothing', async (t) => {
  const { reader, asked, answer, shown, page } = setUp(t);
  for (const id of ['..', 'x/../../self', 'i-0', '']) reader.open(id, []);
  assert.equal(asked.length, 0);
  reader.open(ID, []);
  reader.open(sampleInstanceId(2), []);
  asked[0]?.answer(Response.json({ events: [event(5)], omitted: 0, since: BEGUN, begun: BEGUN }));
  await answer({ events: [event(6, 2)] });
  assert.deepEqual([shown().id, shown().lines.length, page.changes], [sampleInstanceId(2), 1, 1]);
});
