import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sortByAddress } from '../../src/cli/sort-by-address.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

describe('sort by address', () => {
  test('addresses sort as numbers, entries without one come last, equal ones keep their order', () => {
    const addresses = [
      '10.0.0.10',
      null,
      '10.0.0.9',
      '255.255.255.255',
      '9.255.0.1',
      '::1',
      '10.0.0.9',
      '10.0.1.2',
      '10.0.0.9x',
    ];
    const entries = addresses.map((privateIpAddress, n) => ({
      record: sampleRecord({ privateIpAddress, ec2InstanceId: sampleInstanceId(n) }),
      presence: null,
    }));
    const sorted = sortByAddress(entries).map(({ record }) => [record.privateIpAddress, record.ec2InstanceId]);
    assert.deepEqual(sorted, [
      ['9.255.0.1', sampleInstanceId(4)],
      ['10.0.0.9', sampleInstanceId(2)],
      ['10.0.0.9', sampleInstanceId(6)],
      ['10.0.0.10', sampleInstanceId(0)],
      ['10.0.1.2', sampleInstanceId(7)],
      ['255.255.255.255', sampleInstanceId(3)],
      [null, sampleInstanceId(1)],
      ['::1', sampleInstanceId(5)],
      ['10.0.0.9x', sampleInstanceId(8)],
    ]);
  });
});
