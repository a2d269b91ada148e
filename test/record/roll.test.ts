import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { filterRoll, instanceJson, type RollEntry, type RollFilter } from '../../src/record/roll.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

describe('instance json', () => {
  test('an instance is its record with the presence beside it', () => {
    const presence = { session: 'session-a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
    const record = sampleRecord();
    assert.deepEqual(instanceJson({ record, presence }), { ...record, presence: { state: 'present', ...presence } });
  });

  test('an instance without presence keeps the same members, as null', () => {
    const record = sampleRecord();
    const nothing = { session: null, since: null, ttlSeconds: null };
    assert.deepEqual(instanceJson({ record, presence: null }).presence, { state: 'lost', ...nothing });
    const gone = { ...record, departure: { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } } as const;
    assert.deepEqual(instanceJson({ record: gone, presence: null }).presence, { state: 'departed', ...nothing });
  });
});

describe('filter roll', () => {
  const PRESENCE = { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
  const NONE: RollFilter = { cluster: null, health: null, presence: null, az: null };

  const record = (n: number, overrides = {}) => sampleRecord({ ec2InstanceId: sampleInstanceId(n), ...overrides });
  const ENTRIES: readonly RollEntry[] = [
    { record: record(0), presence: PRESENCE },
    { record: record(1, { cluster: null, availabilityZone: null }), presence: PRESENCE },
    { record: record(2, { cluster: 'other', availabilityZone: 'us-east-1b' }), presence: null },
    { record: record(3, { departure: { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } }), presence: null },
  ];

  function ids(filter: Partial<RollFilter>): readonly string[] {
    return filterRoll(ENTRIES, { ...NONE, ...filter }).map((entry) => entry.record.ec2InstanceId);
  }

  test('without criteria every entry passes', () => {
    assert.equal(ids({}).length, 4);
  });

  test('presence, cluster, zone and health filter, each by any of its values', () => {
    assert.deepEqual(ids({ presence: new Set(['lost', 'departed']) }), [sampleInstanceId(2), sampleInstanceId(3)]);
    assert.deepEqual(ids({ cluster: new Set(['other']) }), [sampleInstanceId(2)]);
    assert.deepEqual(ids({ az: new Set(['us-east-1b', 'us-east-1z']) }), [sampleInstanceId(2)]);
    assert.deepEqual(ids({ health: new Set(['critical']) }), []);
  });

  test('all criteria must be met, and an unknown value meets none', () => {
    const filter = { cluster: new Set(['demo', 'null']), presence: new Set(['present'] as const) };
    assert.deepEqual(ids(filter), [sampleInstanceId(0)]);
  });
});
