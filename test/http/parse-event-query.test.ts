import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseEventQuery } from '../../src/http/query.ts';

const parse = (query: string, lastEventId?: string) => parseEventQuery(new URLSearchParams(query), lastEventId);

test('without anything a reader gets a snapshot and every event', () => {
  assert.deepEqual(parse(''), { ok: true, value: { since: null, filter: { kinds: null, cluster: null } } });
});

test('types are taken short and full, with commas and repeated', () => {
  const { ok, value } = parse('types=lost,rollcall.instance.health&types=rollcall.roll.synced&cluster=a,b') as {
    ok: boolean;
    value: unknown;
  };
  assert.ok(ok);
  const filter = { kinds: new Set(['lost', 'health', 'synced']), cluster: new Set(['a', 'b']) };
  assert.deepEqual(value, { since: null, filter });
});

test('Last-Event-ID outranks since, and an empty one is none', () => {
  const since = (query: string, lastEventId?: string) => {
    const parsed = parse(query, lastEventId);
    return parsed.ok ? parsed.value.since : parsed.detail;
  };
  assert.equal(since('since=5'), '5');
  assert.equal(since('since=5', '7'), '7');
  assert.equal(since('since=5', ''), '5');
  assert.equal(since('', '9223372036854775807'), '9223372036854775807');
});

test('what is malformed, unknown, empty or too many is named with what is allowed', () => {
  const refused: [string, string | undefined, RegExp][] = [
    ['since=abc', undefined, /^since "abc" is not a revision; one is a decimal number below 2\^63/],
    ['since=-1', undefined, /^since "-1" is not a revision/],
    ['since=9223372036854775808', undefined, /^since "9223372036854775808" is not a revision/],
    ['since=', undefined, /^since has an empty value/],
    ['since=1&since=2', undefined, /^since is there more than once/],
    ['', '12, 13', /^Last-Event-ID "12, 13" is not a revision/],
    ['since=abc', '12', /^since "abc" is not a revision/],
    [
      'types=died',
      undefined,
      /^types "died" is not known; allowed: registered, .*forgotten, synced, uncertain, certain$/,
    ],
    ['types=lost,', undefined, /^types has an empty value/],
    ['cluster=', undefined, /^cluster has an empty value/],
    ['cluster=a,arn:aws:ecs:us-east-1:1:cluster/b', undefined, /^cluster arn:\S+b: the roll has clusters by name/],
    ['type=lost', undefined, /^unknown parameter "type"; allowed: since, cluster, types$/],
  ];
  for (const [query, lastEventId, detail] of refused) {
    const parsed = parse(query, lastEventId);
    assert.ok(!parsed.ok, query);
    assert.match(parsed.detail, detail);
  }
});
