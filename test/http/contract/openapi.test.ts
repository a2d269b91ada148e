import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { schemaFiles } from '../../../scripts/docs.ts';
import { openApiDocument } from '../../../src/http/contract/openapi.ts';
import { cloudEvent } from '../../../src/record/cloud-event.ts';
import { EVENT_KINDS, type RollEvent } from '../../../src/record/events.ts';
import { DEPARTURE_CAUSES } from '../../../src/record/record.ts';
import { StoreError } from '../../../src/store/store-errors.ts';
import { contractOf, schemaOf } from '../../support/contract.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { sampleReport } from '../../support/sample-report.ts';
import { node, startAgentRoutes, UNCERTAINTY } from '../routes/start-agent-routes.ts';

const DOCUMENT = JSON.parse(JSON.stringify(openApiDocument('0.1.0')));
const contract = contractOf(DOCUMENT);
const LIST = '/v1/containerInstances';

const AT = '2026-01-01T00:00:00.000Z';
const DIFFERENCE = {
  kind: 'stray',
  instanceId: sampleInstanceId(1),
  cluster: 'demo',
  containerInstanceArn: null,
  privateIpAddress: '10.0.0.1',
  since: null,
  reason: 'not in ECS',
} as const;

/** One event of each kind, and of each form that a kind may have. */
function allEvents(): RollEvent[] {
  const change = { revision: '7', instanceId: sampleInstanceId(1), before: node(1), after: node(1, { labels: {} }) };
  const lost = { ...change, kind: 'lost', after: node(1, {}, null), snapshot: false } as const;
  const audit = { revision: '7', key: 'v1/differences/x', difference: DIFFERENCE, snapshot: false };
  return [
    ...(['restarted', 'updated', 'health', 'interruption', 'recovered', 'departed'] as const).map((kind) => ({
      ...change,
      kind,
      snapshot: false,
    })),
    { ...change, kind: 'registered', before: null, snapshot: true },
    lost,
    { ...lost, uncertain: { before: node(1), revision: '7', after: null } },
    { ...change, kind: 'forgotten', after: null, snapshot: false },
    { kind: 'synced', revision: '7', entries: [node(1), node(2)] },
    { kind: 'uncertain', revision: '7', uncertainty: UNCERTAINTY, part: 0 },
    { kind: 'certain', revision: '7', upTo: '6', returned: 3, lost: 2, part: 0 },
    { ...audit, kind: 'difference' },
    { ...audit, kind: 'resolved', difference: { ...DIFFERENCE, kind: 'ghost', instanceId: null } },
  ] as RollEvent[];
}

/** As an agent sends it. */
const sent = (event: RollEvent) => JSON.parse(JSON.stringify(cloudEvent(event, 'store', Date.parse(AT))));

test('the document is OpenAPI 3.1, and has every path that an agent answers', async (t) => {
  const validator = new Validator();
  const result = await validator.validate(structuredClone(DOCUMENT));
  assert.deepEqual([result.valid, result.errors], [true, undefined]);
  const broken = await validator.validate({ ...structuredClone(DOCUMENT), paths: { v1: 5 } });
  assert.equal(broken.valid, false);

  const { url, json, text } = await startAgentRoutes(t);
  const served = await json('/openapi.json');
  assert.deepEqual([served.status, served.headers['content-type']], [200, 'application/json']);
  assert.deepEqual(served.body, DOCUMENT);
  assert.equal((await text('/openapi.json', { 'if-none-match': String(served.headers.etag) })).status, 304);
  const index = (await (await fetch(url)).text()).split('\n').filter((line) => line.startsWith('/'));
  assert.deepEqual(Object.keys(DOCUMENT.paths).sort(), index.map((path) => path.replace(':id', '{id}')).sort());
});

describe('what agents answer has the properties of the document, and no others', () => {
  test('the roll, a page, one node, targets, the status', async (t) => {
    const { store, trouble, url } = await startAgentRoutes(t);
    store.skipped = [{ key: 'v1/records/junk', reason: 'foreign' }];
    const notice = { kind: 'spot-interruption', action: 'terminate', time: '2026-01-01T00:02:00Z' };
    const checks = [{ name: 'docker', status: 'critical', reason: 'no answer', since: AT }] as const;
    store.commit([
      node(1, { interruption: notice, health: { status: 'critical', since: AT, checks } }),
      node(2, {}, null),
      ...DEPARTURE_CAUSES.map((cause, n) => node(n + 3, { departure: { cause, at: AT } }, null)),
      node(9, { containerInstanceArn: null, cluster: null, labels: {}, machineId: null, clockSkewSeconds: null }),
    ]);
    trouble.read = { uncertainty: UNCERTAINTY };
    const { body } = await contract.answer(url, `${LIST}?presence=all&cluster=nowhere,demo`);
    assert.ok(Array.isArray(body['notes']) && body['notes'].length === 1);
    assert.ok(Array.isArray(body['skipped']) && body['skipped'].length === 1);
    assert.equal((await contract.answer(url, `${LIST}?limit=1&presence=all`)).body['next'], sampleInstanceId(1));
    await contract.answer(url, `${LIST}/${sampleInstanceId(2)}`, `${LIST}/{id}`);
    await contract.answer(url, '/v1/targets?presence=all');
    const { body: status } = await contract.answer(url, '/v1/status');
    for (const part of ['groups', 'lost', 'departed', 'unhealthy', 'notices']) {
      assert.ok((status[part] as unknown[]).length > 0, part);
    }
  });

  test('the events of a node', async (t) => {
    const { store, clock, url } = await startAgentRoutes(t);
    store.commit([node(1)]);
    const ask = async () =>
      (await contract.answer(url, `${LIST}/${sampleInstanceId(1)}/events`, `${LIST}/{id}/events`)).body['events'];
    assert.deepEqual(await ask(), []);
    store.commit([node(1, {}, null)]);
    store.commit([], [sampleInstanceId(1)]);
    await clock.advance(0);
    assert.equal(((await ask()) as unknown[]).length, 2);
  });

  test('the agent itself, with and without what it may lack', async (t) => {
    const { agent, url } = await startAgentRoutes(t);
    await contract.answer(url, '/v1/self');
    agent.report = sampleReport({
      interruption: { kind: 'rebalance-recommendation', action: null, time: AT },
      drain: { state: 'waiting', reason: 'no free slot', since: AT },
      ecsAttributes: { state: 'current', reason: 'written', lastWrite: AT },
    });
    await contract.answer(url, '/v1/self');
    agent.report = sampleReport({ record: null });
    await contract.answer(url, '/v1/self');
    await contract.answer(url, '/healthz');
    await contract.answer(url, '/readyz');
  });

  test('problems', async (t) => {
    const { store, url } = await startAgentRoutes(t);
    const answers = [
      contract.answer(url, `${LIST}?limit=0`),
      contract.answer(url, `${LIST}/x`, `${LIST}/{id}`),
      contract.answer(url, `${LIST}/${sampleInstanceId(5)}`, `${LIST}/{id}`),
      contract.answer(url, '/v1/audit'),
    ];
    assert.deepEqual(
      (await Promise.all(answers)).map(({ status }) => status),
      [400, 400, 404, 404],
    );
    store.mode = 'down';
    const other = await startAgentRoutes(t);
    other.store.read = () => Promise.reject(new StoreError('wrong password', { retryable: false }));
    assert.equal((await contract.answer(other.url, '/v1/targets')).status, 503);
  });

  test('events of every kind', () => {
    const events = allEvents();
    assert.deepEqual(new Set(events.map(({ kind }) => kind)), new Set(EVENT_KINDS));
    for (const event of events) contract.named('Event', sent(event));
  });
});

describe('docs/schema/', () => {
  const files = Object.fromEntries(
    Object.keys(schemaFiles()).map((name) => [
      name,
      readFileSync(new URL(`../../../docs/schema/${name}`, import.meta.url), 'utf8'),
    ]),
  );

  test('has what npm run docs makes', () => {
    assert.deepEqual(files, schemaFiles(), 'docs/schema is out of date: run npm run docs');
  });

  test('its schemas take records and events, and refuse what lacks or changes a property', () => {
    const isRecord = schemaOf(JSON.parse(files['record.json'] ?? ''));
    const isEvent = schemaOf(JSON.parse(files['event.json'] ?? ''));
    const record = sampleRecord();
    isRecord(record);
    const { health: _, ...without } = record;
    assert.throws(() => isRecord(without), /must have required property 'health'/);
    assert.throws(() => isRecord({ ...record, ec2InstanceId: '10.0.0.1' }), /must match pattern/);
    assert.throws(() => isRecord({ ...record, registeredAt: 'yesterday' }), /must match format "date-time"/);
    assert.throws(() => isRecord({ ...record, unknown: 1 }), /must NOT have additional properties/);
    for (const event of allEvents()) {
      const one = sent(event);
      isEvent(one);
      assert.throws(() => isEvent({ ...one, data: {} }), /must have required property/);
      assert.throws(() => isEvent({ ...one, type: 'rollcall.instance.gone' }), /oneOf/);
    }
  });
});
