import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTargetsQuery } from '../../src/http/query.ts';

const parse = (query: string) => parseTargetsQuery(new URLSearchParams(query));

test('the port is one of TCP, beside the filters of the roll', () => {
  const parsed = parse('port=9100&cluster=demo&presence=all');
  assert.ok(parsed.ok);
  assert.equal(parsed.value.port, 9_100);
  assert.deepEqual(parsed.value.filter, { cluster: new Set(['demo']), health: null, presence: null, az: null });
  for (const port of [1, 65_535])
    assert.deepEqual((parse(`port=${port}`) as { value: unknown }).value, {
      ...(parse('') as { value: object }).value,
      port,
    });
});

test('any other port, and what the roll refuses, is named with what is allowed', () => {
  for (const port of ['0', '65536', '-1', '1e3', '9100.5', 'http', '0x50', '99999999999']) {
    const parsed = parse(`port=${port}`);
    assert.equal(!parsed.ok && parsed.detail, `port "${port}" is not one; allowed: 1 to 65535`);
  }
  for (const [query, detail] of [
    ['port=', /^port has an empty value/],
    ['port=1&port=2', /^port is there more than once/],
    ['health=ill', /^health "ill" is not known; allowed: passing, warning, critical/],
    ['ports=1', /^unknown parameter "ports"; allowed: cluster, health, presence, az, port$/],
  ] as const) {
    const parsed = parse(query);
    assert.match(parsed.ok ? '' : parsed.detail, detail);
  }
});
