import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MetadataFacts } from '../../src/record/record.ts';
import { mergeMetadata } from '../../src/sources/metadata.ts';

const last: MetadataFacts = {
  ec2InstanceId: 'i-0123456789abcdef0',
  privateIpAddress: '10.113.0.23',
  publicIpAddress: '203.0.113.7',
  privateDnsName: 'ip-10-113-0-23.ec2.internal',
  availabilityZone: 'us-east-1a',
  region: 'us-east-1',
  instanceType: 'm5.large',
  imageId: 'ami-0b69ea66ff7391e80',
  accountId: '123456789012',
  instanceLifecycle: 'on-demand',
};
const { ec2InstanceId, privateIpAddress } = last;
const read = (facts: Partial<MetadataFacts>) => ({ facts, failures: [] });

test('the first read needs only the instance id; what is not known is null', () => {
  const { facts, refused } = mergeMetadata(null, read({ ec2InstanceId }));
  assert.equal(refused, null);
  assert.equal(facts?.ec2InstanceId, ec2InstanceId);
  assert.deepEqual(Object.keys(facts ?? {}).sort(), Object.keys(last).sort());
  assert.deepEqual(new Set(Object.values(facts ?? {})), new Set([ec2InstanceId, null]));
});

test('a first read without an instance id gives nothing', () => {
  assert.deepEqual(mergeMetadata(null, read({ privateIpAddress })), {
    facts: null,
    refused: 'no instance id in this read of EC2 metadata',
  });
});

test('a refresh without an instance id is refused and the last good one stays', () => {
  const { facts, refused } = mergeMetadata(last, read({ privateIpAddress: '10.0.0.1' }));
  assert.equal(facts, last);
  assert.equal(refused, 'no instance id in this read of EC2 metadata');
});

test('a refresh without a private address is refused and the last good one stays', () => {
  for (const lost of [{ ec2InstanceId }, { ec2InstanceId, privateIpAddress: null }]) {
    const { facts, refused } = mergeMetadata(last, read({ ...lost, publicIpAddress: null }));
    assert.equal(facts, last);
    assert.equal(refused, 'no private address in this read of EC2 metadata; the last one was 10.113.0.23');
  }
});

test('a node that never had a private address has none to lose', () => {
  const never = { ...last, privateIpAddress: null };
  const { facts, refused } = mergeMetadata(never, read({ ec2InstanceId, publicIpAddress: '203.0.113.8' }));
  assert.equal(refused, null);
  assert.deepEqual(facts, { ...never, publicIpAddress: '203.0.113.8' });
});

test('a refresh with another instance id is refused and says so', () => {
  const { facts, refused } = mergeMetadata(last, read({ ...last, ec2InstanceId: 'i-0fedcba9876543210' }));
  assert.equal(facts, last);
  assert.match(refused ?? '', /^EC2 metadata is of another instance, i-0fedcba9876543210, not i-0123456789abcdef0;/);
});

test('in a refresh that is taken, absent fields keep their value and null ones lose it', () => {
  const refresh = { ec2InstanceId, privateIpAddress: '10.113.9.9', publicIpAddress: null, instanceType: 'm5.xlarge' };
  assert.deepEqual(mergeMetadata(last, read(refresh)), {
    facts: { ...last, privateIpAddress: '10.113.9.9', publicIpAddress: null, instanceType: 'm5.xlarge' },
    refused: null,
  });
});
