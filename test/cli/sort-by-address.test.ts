import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sortByAddress } from '../../src/cli/sort-by-address.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

test('addresses sort as numbers, those without one come last, equal ones by instance id', () => {
  const addresses = ['10.0.0.10', null, '10.0.0.9', '9.255.0.1', '10.0.0.9'];
  const entries = addresses.map((privateIpAddress, n) => ({
    record: sampleRecord({ privateIpAddress, ec2InstanceId: sampleInstanceId(9 - n) }),
    presence: null,
  }));
  const sorted = sortByAddress(entries).map(({ record }) => [record.privateIpAddress, record.ec2InstanceId]);
  assert.deepEqual(sorted, [
    ['9.255.0.1', sampleInstanceId(6)],
    ['10.0.0.9', sampleInstanceId(5)],
    ['10.0.0.9', sampleInstanceId(7)],
    ['10.0.0.10', sampleInstanceId(9)],
    [null, sampleInstanceId(8)],
  ]);
});
