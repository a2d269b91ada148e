import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainTable } from '../../../src/http/board/plain.ts';
import type { RouteRequest } from '../../../src/http/reply.ts';
import type { NodeRecord } from '../../../src/record/record.ts';
import type { RegistryRead } from '../../../src/registry/registry.ts';
import { StoreError } from '../../../src/store/store-errors.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';

const PRESENCE = { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };

async function ask(records: readonly NodeRecord[], query = '', more: Partial<RegistryRead> = {}) {
  const entries = records.map((record) => ({ record, presence: PRESENCE }));
  const roll = { revision: '7', entries, skipped: [] };
  const read = async () => ({
    roll,
    ageMs: 1_500,
    stale: false,
    uncertainty: null,
    uncertainLosses: new Set<string>(),
    massLoss: null,
    ...more,
  });
  const request: RouteRequest = {
    ...{ method: 'GET', path: '/plain', params: {}, query: new URLSearchParams(query), headers: {}, port: 1 },
    signal: new AbortController().signal,
  };
  const reply = await plainTable({ read })(request);
  const text = typeof reply.body === 'string' ? reply.body : [...(reply.body as Iterable<string>)].join('');
  return { status: reply.status, policy: reply.headers?.['Content-Security-Policy'] ?? '', text };
}

test('the table has a row for each node that the filter asks for', async () => {
  const records = Array.from({ length: 250 }, (_, n) =>
    sampleRecord({ ec2InstanceId: sampleInstanceId(n), cluster: n < 10 ? 'small' : 'demo' }),
  );
  const all = await ask(records);
  assert.equal(all.text.match(/<tr>/g)?.length, 251);
  assert.match(all.text, /revision 7, 2 s old/);
  assert.equal((await ask(records, 'cluster=small')).text.match(/<tr>/g)?.length, 11);
  const unknown = (await ask(records, 'cluster=smal')).text;
  assert.match(unknown, /<strong>no node is in cluster &#34;smal&#34;; [^<]*demo[^<]*\.<\/strong>/);
  const wrong = await ask(records, 'healt=passing');
  assert.equal(wrong.status, 400);
  assert.match(wrong.text, /unknown parameter/);
});

test('text of a record is text, and the page runs no script', async () => {
  const since = '2026-01-01T00:00:00.000Z';
  const reason = `<img src=x onerror="alert('1')">&\u202e`;
  const checks = [{ name: 'disk', status: 'critical' as const, reason, since }];
  const { text, policy } = await ask([sampleRecord({ health: { status: 'critical', since, checks } })]);
  assert.ok(text.includes('disk: &#60;img src=x onerror=&#34;alert(&#39;1&#39;)&#34;&#62;&#38;?'), text);
  assert.match(policy, /script-src 'none'/);
});

test('a stale roll says so, and one that is not known is no empty table', async () => {
  assert.match((await ask([], '', { stale: true })).text, /The store does not answer: this is the last known roll/);
  const read = async () => {
    throw new StoreError('the roll is not known', { retryable: true });
  };
  const request = { path: '/plain', query: new URLSearchParams(), signal: new AbortController().signal };
  assert.equal((await plainTable({ read })(request as RouteRequest)).status, 503);
});
