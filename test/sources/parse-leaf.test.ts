import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MetadataFacts } from '../../src/record/record.ts';
import { METADATA_FIELDS, parseLeaf } from '../../src/sources/metadata.ts';
import { SourceError } from '../../src/sources/source-error.ts';

const good: [keyof MetadataFacts, string][] = [
  ['ec2InstanceId', 'i-12345678'],
  ['ec2InstanceId', 'i-0123456789abcdef0'],
  ['privateIpAddress', '10.113.0.23'],
  ['publicIpAddress', '203.0.113.7'],
  ['privateDnsName', 'ip-10-113-0-23.ec2.internal'],
  ['availabilityZone', 'us-east-1a'],
  ['availabilityZone', 'us-west-2-lax-1a'],
  ['availabilityZone', 'us-gov-west-1a'],
  ['region', 'ap-southeast-2'],
  ['instanceType', 'm5.large'],
  ['instanceType', 'u-6tb1.112xlarge'],
  ['imageId', 'ami-0b69ea66ff7391e80'],
  ['instanceLifecycle', 'on-demand'],
  ['instanceLifecycle', 'spot'],
  ['instanceLifecycle', 'capacity-block'],
];

const bad: [keyof MetadataFacts, string][] = [
  ['ec2InstanceId', ''],
  ['ec2InstanceId', 'i-0123456'],
  ['ec2InstanceId', 'i-0123456789abcdef0\ni-0123456789abcdef1'],
  ['privateIpAddress', '10.113.0'],
  ['privateIpAddress', '10.113.0.256'],
  ['privateIpAddress', '10.113.0.23\n10.113.0.24'],
  ['privateDnsName', `a${'.a'.repeat(200)}`],
  ['privateDnsName', 'host_name'],
  ['availabilityZone', 'somewhere'],
  ['instanceType', 'm5 large'],
  ['imageId', 'image'],
  ['instanceLifecycle', 'Spot!'],
];

test('a leaf of the right shape is its text, without the newline it may end in', () => {
  for (const [name, text] of good) {
    assert.equal(parseLeaf(METADATA_FIELDS[name], text), text);
    assert.equal(parseLeaf(METADATA_FIELDS[name], `${text}\n`), text);
  }
});

test('a leaf of several lines, too long or of another shape is an error', () => {
  for (const [name, text] of bad) {
    assert.throws(() => parseLeaf(METADATA_FIELDS[name], text), SourceError, `${name} ${text}`);
  }
});

test('HTML or JSON is no value of any leaf', () => {
  for (const field of Object.values(METADATA_FIELDS)) {
    for (const text of ['<!DOCTYPE html>\n<html></html>', '<html>', '{"unexpected":42}', '[]', 'null\n\n']) {
      assert.throws(() => parseLeaf(field, text), SourceError, `${field.leaf} ${text}`);
    }
  }
});

test('the error names the leaf and what was expected, and cuts the offending text short', () => {
  assert.throws(() => parseLeaf(METADATA_FIELDS.privateIpAddress, `<html>\r\n\u0007${'x'.repeat(10_000)}`), {
    message: `IMDS meta-data/local-ipv4: expected an IPv4 address, got "<html> ${'x'.repeat(53)}…"`,
  });
});

test('of the several names that DHCP options with several domains make, the first is the host name', () => {
  assert.equal(parseLeaf(METADATA_FIELDS.privateDnsName, 'ip-10-0-0-1.a.example b.example'), 'ip-10-0-0-1.a.example');
});
