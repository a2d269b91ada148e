import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { describeUnmatched, FilterError, type FilterTexts, filterRoll, parseFilter } from '../../src/record/filter.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const PRESENCE = { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
const record = (n: number, overrides = {}) => sampleRecord({ ec2InstanceId: sampleInstanceId(n), ...overrides });
const ENTRIES: readonly RollEntry[] = [
  { record: record(0, { labels: { role: 'node', rack: '3' } }), presence: PRESENCE },
  { record: record(1, { cluster: null, availabilityZone: null, labels: {} }), presence: PRESENCE },
  { record: record(2, { cluster: 'other', availabilityZone: 'us-east-1b', labels: { role: '' } }), presence: null },
  { record: record(3, { departure: { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } }), presence: null },
];

/** The numbers of the nodes that match. */
function matching(texts: FilterTexts): string {
  return filterRoll(ENTRIES, parseFilter(texts))
    .map((entry) => entry.record.ec2InstanceId.at(-1))
    .join('');
}

function refusal(texts: FilterTexts): string {
  try {
    parseFilter(texts);
    return 'accepted';
  } catch (error) {
    assert.ok(error instanceof FilterError);
    return error.message;
  }
}

describe('parse and apply', () => {
  test('without criteria every entry passes', () => assert.equal(matching({}), '0123'));

  test('presence, cluster, zone and health filter, each by any of its values', () => {
    assert.equal(matching({ presence: ['lost,departed'] }), '23');
    assert.equal(matching({ presence: ['lost', 'all'] }), '0123');
    assert.equal(matching({ cluster: ['other'] }), '2');
    assert.equal(matching({ cluster: ['other, demo'] }), '023');
    assert.equal(matching({ cluster: ['arn:aws:ecs:us-east-1:123456789012:cluster/other'] }), '2');
    assert.equal(matching({ az: ['us-east-1b', 'us-east-1z'] }), '2');
    assert.equal(matching({ health: ['critical'] }), '');
    assert.equal(matching({ health: ['Passing'] }), '0123');
  });

  test('all criteria must be met, and an unknown value of a node meets none', () => {
    assert.equal(matching({ cluster: ['demo', 'null'], presence: ['present'] }), '0');
  });

  test('the terms of a selector are all met; a node without the key meets only != and !', () => {
    assert.equal(matching({ selector: ['role=node'] }), '03');
    assert.equal(matching({ selector: ['role==node,rack=3'] }), '0');
    assert.equal(matching({ selector: ['role=node', 'rack'] }), '0');
    assert.equal(matching({ selector: ['role'] }), '023');
    assert.equal(matching({ selector: ['!role'] }), '1');
    assert.equal(matching({ selector: ['role != node'] }), '12');
    assert.equal(matching({ selector: ['role='] }), '2');
    assert.equal(matching({ selector: ['constructor'] }), '');
  });

  test('what cannot be read is refused with the criterion, the value and what is allowed', () => {
    assert.equal(refusal({ health: ['ill'] }), 'health "ill" is not known; allowed: passing, warning, critical');
    assert.equal(
      refusal({ presence: ['gone'] }),
      'presence "gone" is not known; allowed: present, departed, lost, all',
    );
    assert.equal(refusal({ cluster: ['a,'] }), 'cluster has an empty value; set a value or remove it');
    assert.equal(refusal({ az: [] }), 'az has an empty value; set a value or remove it');
    assert.equal(refusal({ cluster: ['de mo'] }), 'cluster "de mo" is not the name or the ARN of a cluster');
    assert.match(
      refusal({ cluster: ['arn:aws:ecs:us-east-1:1:service/x'] }),
      /is not the name or the ARN of a cluster/,
    );
    for (const term of ['=a', '!', '!a=b', 'a=b=c', 'a in (b)', 'a>1', '-a', 'a=\u0007', `a=${'x'.repeat(200)}`])
      assert.match(
        refusal({ selector: [term] }),
        /^selector .* is not a condition; allowed: key=value, key!=value, key, !key$/,
      );
    assert.ok(refusal({ selector: ['='.repeat(9_000)] }).length < 200);
  });
});

test('a selector has at most 32 conditions', () => {
  assert.equal(refusal({ selector: [Array(33).fill('q').join()] }), 'selector has 33 conditions; at most 32');
});

describe('a value that no node has is named with those there are', () => {
  const unmatched = (texts: FilterTexts, entries = ENTRIES) => describeUnmatched(entries, parseFilter(texts));

  test('a label may have a name that every object has', () => {
    const [entry] = ENTRIES;
    assert.ok(entry);
    const labels = { constructor: 'a' } as unknown as Record<string, string>;
    const entries = [...ENTRIES, { ...entry, record: { ...entry.record, labels } }];
    assert.deepEqual(unmatched({ selector: ['constructor=b'] }, entries), [
      'no node has the label constructor="b"; values: a',
    ]);
  });

  test('clusters, zones, keys and values of labels', () => {
    assert.deepEqual(
      unmatched({ cluster: ['demo,demoo'], az: ['us-east-1z'], selector: ['role=gpu,rol,rack,x!=1,!y'] }),
      [
        'no node is in cluster "demoo"; clusters: demo, other',
        'no node is in zone "us-east-1z"; zones: us-east-1a, us-east-1b',
        'no node has the label role="gpu"; values: "", node',
        'no node has the label "rol"; labels: rack, role',
      ],
    );
    assert.deepEqual(unmatched({ cluster: ['demo'], health: ['critical'], selector: ['role=node'] }), []);
  });

  test('a roll without any says so, an empty roll says nothing', () => {
    assert.deepEqual(unmatched({ cluster: ['a'] }, ENTRIES.slice(1, 2)), [
      'no node is in cluster "a"; there are no clusters',
    ]);
    assert.deepEqual(unmatched({ cluster: ['a'] }, []), []);
  });

  test('it stays one line, however many there are and whatever they hold', () => {
    const many = Array.from({ length: 13 }, (_, n) => ({
      record: record(n, { cluster: `c${n}`, labels: { k: `\u001b[2J${'x'.repeat(100)}${n}` } }),
      presence: PRESENCE,
    }));
    const [cluster = '', label = ''] = unmatched({ cluster: ['prod'], selector: ['k=v'] }, many);
    assert.match(cluster, /^no node is in cluster "prod"; clusters: c0, c1, c10, .* and 3 more$/);
    assert.ok(!label.includes('\u001b'));
    assert.ok(label.length < 800);
  });
});
