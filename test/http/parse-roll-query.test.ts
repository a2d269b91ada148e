import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRollQuery } from '../../src/http/query.ts';

function parse(query: string) {
  return parseRollQuery(new URLSearchParams(query));
}

function detail(query: string): string {
  const parsed = parse(query);
  return parsed.ok ? 'accepted' : parsed.detail;
}

test('without parameters it is the present nodes', () => {
  const filter = { cluster: null, health: null, presence: new Set(['present']), az: null };
  assert.deepEqual(parse(''), { ok: true, value: filter });
});

test('values come with commas or by repetition', () => {
  const filter = {
    cluster: new Set(['My-ECS-Cluster']),
    health: new Set(['warning', 'critical']),
    presence: new Set(['departed', 'lost']),
    az: new Set(['us-east-1a', 'us-east-1b']),
  };
  const query =
    'cluster=My-ECS-Cluster&health=warning,critical&presence=lost&presence=departed&az=us-east-1a,us-east-1b';
  assert.deepEqual(parse(query), { ok: true, value: filter });
});

test('presence=all asks for every presence', () => {
  for (const query of ['presence=all', 'presence=all,lost']) {
    const parsed = parse(query);
    assert.equal(parsed.ok && parsed.value.presence, null);
  }
});

test('what is not known is refused with the value and what is allowed', () => {
  assert.equal(detail('health=fine'), 'health "fine" is not known; allowed: passing, warning, critical');
  assert.equal(detail('presence=gone'), 'presence "gone" is not known; allowed: present, departed, lost, all');
  assert.equal(detail('zone=a'), 'unknown parameter "zone"; allowed: cluster, health, presence, az');
  assert.match(detail('cluster=arn:aws:ecs:us-east-1:1:cluster/b') ?? '', /the roll has clusters by name/);
  assert.equal(detail('cluster='), 'cluster has an empty value; give it a value or leave it out');
  assert.equal(detail('health=passing,'), 'health has an empty value; give it a value or leave it out');
  assert.ok(detail(`presence=${'x'.repeat(2_000)}`).length < 200);
});
