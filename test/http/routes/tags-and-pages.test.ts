import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sampleInstanceId } from '../../support/sample-record.ts';
import { node, startAgentRoutes, UNCERTAINTY } from './start-agent-routes.ts';

const LIST = '/v1/containerInstances';

describe('an answer that the reader has is 304 without a body', () => {
  test('as long as the roll is the same and current, whatever its age', async (t) => {
    const { store, clock, text, json } = await startAgentRoutes(t);
    store.commit([node(1), node(2)]);
    for (const path of [LIST, `${LIST}/${sampleInstanceId(1)}`, '/v1/targets', '/v1/status']) {
      const { etag = '' } = (await json(path)).headers;
      assert.match(etag, /^W\/"[\w-]{22}"$/, path);
      await clock.advance(100);
      const known = await text(path, { 'if-none-match': `"other", ${etag}` });
      assert.deepEqual([known.status, known.text, known.headers.etag], [304, '', etag], path);
      assert.equal(known.headers['cache-control'], 'no-store');
      assert.equal((await json(path, { 'if-none-match': '"other"' })).status, 200, path);
    }
    assert.equal((await text(LIST)).headers.etag, (await text(LIST, { 'accept-encoding': 'gzip' })).headers.etag);
  });

  test('a changed node, or another filter, page or uncertainty, is another answer', async (t) => {
    const { store, trouble, text } = await startAgentRoutes(t);
    store.commit([node(1), node(2, {}, null)]);
    const tags = async () => {
      const answers = [
        LIST,
        `${LIST}?presence=all`,
        `${LIST}?limit=1`,
        '/v1/targets',
        '/v1/targets?port=1',
        '/v1/status',
      ];
      return await Promise.all(answers.map(async (path) => String((await text(path)).headers.etag)));
    };
    const seen = await tags();
    trouble.read = { uncertainty: UNCERTAINTY, uncertainLosses: new Set([sampleInstanceId(2)]) };
    seen.push(...(await tags()));
    trouble.read = {};
    store.commit([node(1, { labels: { role: 'other' } })]);
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(...(await tags()));
    assert.equal(new Set(seen).size, seen.length, seen.join('\n'));
  });

  test('a store that was restored from a backup has the same revision, and is another answer', async (t) => {
    const { store, clock, text, json } = await startAgentRoutes(t);
    store.commit([node(1)]);
    const before = await json(LIST);
    store.restore(1);
    await clock.advance(1_000);
    store.commit([node(3)]);
    await clock.advance(1_000);
    const after = await text(LIST, { 'if-none-match': String(before.headers.etag) });
    assert.equal(after.status, 200);
    const { revision, containerInstances } = JSON.parse(after.text);
    assert.equal(revision, before.body.revision);
    assert.equal(containerInstances[0].ec2InstanceId, sampleInstanceId(3));
  });

  test('a stale roll has no tag, so that its reader sees its age', async (t) => {
    const { store, clock, json } = await startAgentRoutes(t);
    store.commit([node(1)]);
    const paths = [LIST, `${LIST}/${sampleInstanceId(1)}`, '/v1/status'];
    const tags: string[] = [];
    for (const path of paths) tags.push(String((await json(path)).headers.etag));
    store.mode = 'down';
    await clock.advance(20_000);
    for (const [index, path] of paths.entries()) {
      const { status, headers, body } = await json(path, { 'if-none-match': String(tags[index]) });
      assert.deepEqual([status, headers.etag, body.stale, body.ageMs], [200, undefined, true, 20_000], path);
    }
    // The list of targets does not say how old it is, so it is the same answer.
    const { etag = '' } = (await json('/v1/targets')).headers;
    assert.ok(etag);
  });
});

describe('pages', () => {
  test('limit and after give every node once, in the order of ids, with a link to the next page', async (t) => {
    const { store, json } = await startAgentRoutes(t);
    store.commit([5, 3, 1, 4, 2].map((n) => node(n)).concat(node(6, {}, null)));
    const seen: string[] = [];
    let path = `${LIST}?limit=2&cluster=demo`;
    for (let page = 0; path !== ''; page += 1) {
      const { body, headers } = await json(path);
      seen.push(...body.containerInstances.map((each: { ec2InstanceId: string }) => each.ec2InstanceId));
      const link = /^<(.+)>; rel="next"$/.exec(String(headers['link']))?.[1] ?? '';
      assert.equal(body.next, page < 2 ? seen.at(-1) : null);
      assert.equal(link, page < 2 ? `${LIST}?limit=2&cluster=demo&after=${seen.at(-1)}` : '');
      path = link;
    }
    assert.deepEqual(seen, [1, 2, 3, 4, 5].map(sampleInstanceId));
    // A node that left since the last page is no mistake.
    const { body } = await json(`${LIST}?after=i-ffffffff`);
    assert.deepEqual([body.containerInstances, body.next], [[], null]);
  });

  test('an invalid value is a 400 that names the parameter', async (t) => {
    const { json } = await startAgentRoutes(t);
    for (const [query, detail] of [
      ['limit=0', 'limit "0" is not a number of nodes; allowed: 1 to 10000'],
      ['limit=10001', 'limit "10001" is not a number of nodes; allowed: 1 to 10000'],
      ['limit=-1', 'limit "-1" is not a number of nodes; allowed: 1 to 10000'],
      ['limit=ten', 'limit "ten" is not a number of nodes; allowed: 1 to 10000'],
      ['limit=', 'limit has an empty value; set a value or remove it'],
      ['limit=1&limit=2', 'limit is set more than once; it takes one value'],
      ['after=10.0.0.1', 'after "10.0.0.1" is not an instance id; allowed: i- or mi- and 8 to 32 hex digits'],
      ['page=2', 'unknown parameter "page"; allowed: cluster, health, presence, az, selector, limit, after'],
    ] as const) {
      const { status, headers, body } = await json(`${LIST}?${query}`);
      assert.deepEqual([status, headers['content-type']], [400, 'application/problem+json'], query);
      assert.equal(body.detail, detail);
    }
  });
});

test('ten thousand nodes in gzip are one complete answer', async (t) => {
  const { store, url } = await startAgentRoutes(t);
  store.commit(Array.from({ length: 10_000 }, (_, n) => node(n)));
  const answer = await fetch(`${url}${LIST}`, { headers: { 'accept-encoding': 'gzip' } });
  assert.equal(answer.headers.get('content-encoding'), 'gzip');
  // `fetch` has decompressed it.
  const { containerInstances } = (await answer.json()) as { containerInstances: unknown[] };
  assert.equal(containerInstances.length, 10_000);
});

test('no answer may be read by a page of another origin', async (t) => {
  const { store, text } = await startAgentRoutes(t);
  store.commit([node(1)]);
  const headers = { origin: 'https://attacker.example', 'access-control-request-method': 'GET' };
  for (const path of [
    '/',
    '/plain',
    '/healthz',
    '/readyz',
    '/v1/self',
    LIST,
    '/v1/status',
    '/v1/targets',
    '/metrics',
    '/x',
  ]) {
    const answer = await text(path, headers);
    const names = Object.keys(answer.headers).filter((name) => name.startsWith('access-control-'));
    assert.deepEqual(names, [], path);
  }
});
