import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseEventQuery, parseRollQuery, parseTargetsQuery } from '../../src/http/query.ts';
import { EVERY_NODE } from '../../src/record/filter.ts';

describe('parse event query', () => {
  const parse = (query: string, lastEventId?: string) => parseEventQuery(new URLSearchParams(query), lastEventId);

  test('without parameters the reader gets a snapshot and all events', () => {
    assert.deepEqual(parse(''), {
      ok: true,
      value: { since: null, filter: { kinds: null, nodes: EVERY_NODE }, hold: false },
    });
  });

  test('uncertain takes one value, hold', () => {
    assert.equal((parse('uncertain=hold') as { value: { hold: boolean } }).value.hold, true);
    for (const [query, detail] of [
      ['uncertain=off', /^uncertain "off" is not known; allowed: hold$/],
      ['uncertain=', /^uncertain has an empty value/],
      ['uncertain=hold&uncertain=hold', /^uncertain is set more than once/],
    ] as const) {
      assert.match((parse(query) as { detail: string }).detail, detail);
    }
  });

  test('types are accepted in short and full form, comma-separated and repeated', () => {
    const { ok, value } = parse('types=lost,rollcall.instance.health&types=rollcall.roll.synced&cluster=a,b') as {
      ok: boolean;
      value: unknown;
    };
    assert.ok(ok);
    const filter = {
      kinds: new Set(['lost', 'health', 'synced']),
      nodes: { ...EVERY_NODE, cluster: new Set(['a', 'b']) },
    };
    assert.deepEqual(value, { since: null, filter, hold: false });
  });

  test('Last-Event-ID takes precedence over since, and an empty one counts as none', () => {
    const since = (query: string, lastEventId?: string) => {
      const parsed = parse(query, lastEventId);
      return parsed.ok ? parsed.value.since : parsed.detail;
    };
    assert.equal(since('since=5'), '5');
    assert.equal(since('since=5', '7'), '7');
    assert.equal(since('since=5', ''), '5');
    assert.equal(since('', '9223372036854775807'), '9223372036854775807');
  });

  test('an invalid, unknown, empty or repeated parameter is an error with what is allowed', () => {
    const refused: [string, string | undefined, RegExp][] = [
      ['since=abc', undefined, /^since "abc" is not a revision: a decimal number below 2\^63/],
      ['since=-1', undefined, /^since "-1" is not a revision/],
      ['since=9223372036854775808', undefined, /^since "9223372036854775808" is not a revision/],
      ['since=', undefined, /^since has an empty value/],
      ['since=1&since=2', undefined, /^since is set more than once/],
      ['', '12, 13', /^Last-Event-ID "12, 13" is not a revision/],
      ['since=abc', '12', /^since "abc" is not a revision/],
      [
        'types=died',
        undefined,
        /^types "died" is not known; allowed: registered, .*forgotten, synced, uncertain, certain, difference, resolved$/,
      ],
      ['types=lost,', undefined, /^types has an empty value/],
      ['cluster=', undefined, /^cluster has an empty value/],
      [
        'cluster=a,arn:aws:ecs:us-east-1:1:cluster/b',
        undefined,
        /^cluster "arn:\S+b" is not the name or the ARN of a cluster$/,
      ],
      [
        'type=lost',
        undefined,
        /^unknown parameter "type"; allowed: since, types, uncertain, cluster, health, presence, az, selector$/,
      ],
    ];
    for (const [query, lastEventId, detail] of refused) {
      const parsed = parse(query, lastEventId);
      assert.ok(!parsed.ok, query);
      assert.match(parsed.detail, detail);
    }
  });
});

describe('parse roll query', () => {
  function parse(query: string) {
    return parseRollQuery(new URLSearchParams(query));
  }

  function detail(query: string): string {
    const parsed = parse(query);
    return parsed.ok ? 'accepted' : parsed.detail;
  }

  test('without parameters the present nodes are selected', () => {
    const filter = { ...EVERY_NODE, presence: new Set(['present']) };
    assert.deepEqual(parse(''), { ok: true, value: filter });
  });

  test('values are comma-separated or repeated', () => {
    const filter = {
      cluster: new Set(['My-ECS-Cluster']),
      health: new Set(['warning', 'critical']),
      presence: new Set(['departed', 'lost']),
      az: new Set(['us-east-1a', 'us-east-1b']),
      selector: null,
    };
    const query =
      'cluster=My-ECS-Cluster&health=warning,critical&presence=lost&presence=departed&az=us-east-1a,us-east-1b';
    assert.deepEqual(parse(query), { ok: true, value: filter });
  });

  test('presence=all selects every presence', () => {
    for (const query of ['presence=all', 'presence=all,lost']) {
      const parsed = parse(query);
      assert.equal(parsed.ok && parsed.value.presence, null);
    }
  });

  test('an unknown value is an error with what is allowed', () => {
    assert.equal(detail('health=fine'), 'health "fine" is not known; allowed: passing, warning, critical');
    assert.equal(detail('presence=gone'), 'presence "gone" is not known; allowed: present, departed, lost, all');
    assert.equal(detail('zone=a'), 'unknown parameter "zone"; allowed: cluster, health, presence, az, selector');
    assert.match(detail('selector=role=a,=b'), /^selector "=b" is not a condition; allowed: key=value/);
    assert.equal(detail('cluster='), 'cluster has an empty value; set a value or remove it');
    assert.equal(detail('health=passing,'), 'health has an empty value; set a value or remove it');
    assert.ok(detail(`presence=${'x'.repeat(2_000)}`).length < 200);
  });
});

describe('parse targets query', () => {
  const parse = (query: string) => parseTargetsQuery(new URLSearchParams(query));

  test('the port is a TCP port, beside the filters of the roll', () => {
    const parsed = parse('port=9100&cluster=demo&presence=all');
    assert.ok(parsed.ok);
    assert.equal(parsed.value.port, 9_100);
    assert.deepEqual(parsed.value.filter, { ...EVERY_NODE, cluster: new Set(['demo']) });
    for (const port of [1, 65_535])
      assert.deepEqual((parse(`port=${port}`) as { value: unknown }).value, {
        ...(parse('') as { value: object }).value,
        port,
      });
  });

  test('any other port, and any invalid filter, is an error with what is allowed', () => {
    for (const port of ['0', '65536', '-1', '1e3', '9100.5', 'http', '0x50', '99999999999']) {
      const parsed = parse(`port=${port}`);
      assert.equal(!parsed.ok && parsed.detail, `port "${port}" is not a port; allowed: 1 to 65535`);
    }
    for (const [query, detail] of [
      ['port=', /^port has an empty value/],
      ['port=1&port=2', /^port is set more than once/],
      ['health=ill', /^health "ill" is not known; allowed: passing, warning, critical/],
      ['ports=1', /^unknown parameter "ports"; allowed: cluster, health, presence, az, selector, port$/],
    ] as const) {
      const parsed = parse(query);
      assert.match(parsed.ok ? '' : parsed.detail, detail);
    }
  });
});
