import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { instanceJson } from '../../src/record/roll.ts';
import { sampleRecord } from '../support/sample-record.ts';

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
