import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeptDifference } from '../../../src/record/difference.ts';
import { sampleInstanceId } from '../../support/sample-record.ts';
import { openSse } from '../sse-reader.ts';
import { node, startAgentRoutes } from './start-agent-routes.ts';

const LIST = '/v1/containerInstances';
const pathOf = (n: number, query = '') => `${LIST}/${sampleInstanceId(n)}/events${query}`;
const GHOST: KeptDifference = {
  ...{ kind: 'ghost', instanceId: sampleInstanceId(1), cluster: 'demo', privateIpAddress: null },
  ...{ containerInstanceArn: 'arn:x', since: null, reason: 'never on the roll' },
};

/** Events of the nodes 1 and 2, one a second. The first one is seen before anything is read but the roll. */
async function startLog(t: Parameters<typeof startAgentRoutes>[0]) {
  const agent = await startAgentRoutes(t);
  const { store, clock, json } = agent;
  const begunMs = clock.wallMs();
  const at = (seconds: number) => new Date(begunMs + seconds * 1_000).toISOString();
  store.commit([node(1), node(2)]);
  await json(LIST);
  const commit = async (...args: Parameters<typeof store.commit>) => {
    await clock.advance(1_000);
    store.commit(...args);
    await clock.advance(0);
  };
  return { ...agent, commit, at };
}

const kindsOf = (body: { readonly events: readonly { readonly type: string }[] }) =>
  body.events.map(({ type }) => type.replace(/^rollcall\.\w+\./, ''));

test('a node’s events come newest first, each with the time at which the agent saw it', async (t) => {
  const { store, clock, json, commit, at } = await startLog(t);
  await commit([node(1, { labels: { role: 'edge' } }), node(2, { labels: { role: 'edge' } })]);
  await commit([node(1, { labels: { role: 'edge' } }, null)]);
  await commit([node(2, { labels: {} })]);
  await clock.advance(60_000);
  store.confirm();
  await clock.advance(0);
  const { status, headers, body } = await json(pathOf(1));
  assert.deepEqual([status, headers['content-type']], [200, 'application/json']);
  assert.deepEqual(
    body.events.map(({ id, time }: { id: string; time: string }) => [id, time]),
    [
      [`4/${sampleInstanceId(1)}/lost`, at(2)],
      [`3/${sampleInstanceId(1)}/updated`, at(1)],
    ],
  );
  const { events, ...rest } = body;
  assert.equal(events[0].data.previous.labels.role, 'edge');
  assert.deepEqual(rest, { omitted: 0, since: at(0), begun: at(0), revision: '5', stale: false, ageMs: 0 });
});

test('a stream that is opened later says the same time of an event', async (t) => {
  const { clock, url, commit, json } = await startLog(t);
  await commit([node(1, { labels: { role: 'edge' } })]);
  await clock.advance(60_000);
  const stream = await openSse(t, `${url}/v1/events?since=2`);
  await stream.until(() => stream.told().length === 1);
  const { events } = (await json(pathOf(1))).body;
  assert.deepEqual(JSON.parse(stream.told()[0]?.data ?? ''), events[0]);
});

test('types and limit choose, and the answer says how many older ones there are', async (t) => {
  const { json, commit } = await startLog(t);
  for (const role of ['a', 'b', 'c']) await commit([node(1, { labels: { role } })]);
  await commit([node(1, {}, null)]);
  const newest = (await json(pathOf(1, '?limit=2'))).body;
  assert.deepEqual([kindsOf(newest), newest.omitted], [['lost', 'updated'], 2]);
  const updated = (await json(pathOf(1, '?types=updated,rollcall.instance.health&limit=1000'))).body;
  assert.deepEqual([kindsOf(updated), updated.omitted], [['updated', 'updated', 'updated'], 0]);
  for (const [path, detail] of [
    [pathOf(1, '?limit=0'), 'limit "0" is not a number of events; allowed: 1 to 1000'],
    [pathOf(1, '?limit=1001'), 'limit "1001" is not a number of events; allowed: 1 to 1000'],
    [pathOf(1, '?since=5'), 'unknown parameter "since"; allowed: types, limit'],
    [`${LIST}/x/events`, '"x" is not an instance id: i- or mi- and 8 to 32 hex digits'],
  ] as const) {
    const { status, body } = await json(path);
    assert.deepEqual([status, body.detail], [400, detail]);
  }
});

test('what the audit says of a node, and that it was forgotten, are events of it', async (t) => {
  const { store, clock, json, commit } = await startLog(t);
  store.emit([{ kind: 'difference', key: 'v1/differences/x', difference: GHOST, previous: null }]);
  await clock.advance(0);
  await commit([], [sampleInstanceId(1)]);
  const { status, body } = await json(pathOf(1));
  assert.deepEqual([status, kindsOf(body)], [200, ['forgotten', 'difference']]);
  assert.equal((await json(`${LIST}/${sampleInstanceId(1)}`)).status, 404);
  assert.deepEqual(kindsOf((await json(pathOf(9))).body), []);
});

test('a log that is begun anew says so, and what it had is gone', async (t) => {
  const { store, clock, json, commit, at } = await startLog(t);
  await commit([node(1, {}, null)]);
  assert.deepEqual(kindsOf((await json(pathOf(1))).body), ['lost']);
  store.compact();
  await clock.advance(9_000);
  const { events, since, begun } = (await json(pathOf(1))).body;
  assert.deepEqual([events, since, begun], [[], begun, begun]);
  assert.ok(Date.parse(begun) > Date.parse(at(1)), begun);
});

test('the same answer is 304 until something happens; it comes compressed, and a HEAD has its head alone', async (t) => {
  const { json, text, url, commit } = await startLog(t);
  await commit([node(1, { labels: { role: 'a' } })]);
  const { etag = '' } = (await json(pathOf(1))).headers;
  assert.match(String(etag), /^W\/"[\w-]{22}"$/);
  const known = { 'if-none-match': String(etag) };
  assert.deepEqual([(await text(pathOf(1), known)).status, (await text(pathOf(1), known)).text], [304, '']);
  assert.equal((await text(pathOf(2), known)).status, 200);
  assert.equal(
    (await fetch(`${url}${pathOf(1)}`, { headers: { 'accept-encoding': 'gzip' } })).headers.get('content-encoding'),
    'gzip',
  );
  const head = await fetch(`${url}${pathOf(1)}`, { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers.get('etag'), await head.text()], [200, etag, '']);
  await commit([node(1, { labels: { role: 'b' } })]);
  assert.equal((await text(pathOf(1), known)).status, 200);
});

test('while the store is away the log is still told, as old; where nothing is known it is 503', async (t) => {
  const { store, clock, json, commit } = await startLog(t);
  await commit([node(1, {}, null)]);
  await json(pathOf(1));
  store.mode = 'down';
  await clock.advance(20_000);
  const { status, headers, body } = await json(pathOf(1));
  assert.deepEqual(
    [status, headers.etag, body.stale, body.ageMs, kindsOf(body)],
    [200, undefined, true, 21_000, ['lost']],
  );

  const other = await startAgentRoutes(t);
  other.store.mode = 'down';
  const asked = other.json(pathOf(1));
  await other.clock.advance(10_000);
  assert.deepEqual([(await asked).status, (await asked).headers['retry-after']], [503, '5']);
});
