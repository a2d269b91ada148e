import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIdentityDocument } from '../../src/sources/metadata.ts';
import { SourceError } from '../../src/sources/source-error.ts';

const document = {
  accountId: '123456789012',
  architecture: 'x86_64',
  availabilityZone: 'us-east-1a',
  billingProducts: null,
  imageId: 'ami-0b69ea66ff7391e80',
  instanceId: 'i-0123456789abcdef0',
  instanceType: 'm5.large',
  pendingTime: '2026-11-22T09:00:00Z',
  privateIp: '10.113.0.23',
  region: 'us-east-1',
  version: '2017-09-30',
};

test('a document gives the facts it has and leaves out those it lacks', () => {
  assert.deepEqual(parseIdentityDocument(JSON.stringify(document)), {
    ec2InstanceId: 'i-0123456789abcdef0',
    privateIpAddress: '10.113.0.23',
    availabilityZone: 'us-east-1a',
    region: 'us-east-1',
    instanceType: 'm5.large',
    imageId: 'ami-0b69ea66ff7391e80',
    accountId: '123456789012',
  });
});

test('a key that is null is null, a key that is missing is absent', () => {
  const { region: _, ...rest } = document;
  const facts = parseIdentityDocument(JSON.stringify({ ...rest, privateIp: null }));
  assert.equal(facts.privateIpAddress, null);
  assert.equal('region' in facts, false);
});

test('a document without an instance id is none', () => {
  for (const instanceId of [undefined, null, '', 42, 'i-', ['i-0123456789abcdef0']]) {
    assert.throws(() => parseIdentityDocument(JSON.stringify({ ...document, instanceId })), {
      name: 'SourceError',
      message: /^IMDS instance identity document: instanceId: expected an instance id, got "/,
    });
  }
});

test('one value of a wrong type or shape makes the whole document untrustworthy', () => {
  for (const wrong of [{ privateIp: 42 }, { privateIp: '10.0.0' }, { region: {} }, { accountId: 123456789012 }]) {
    assert.throws(() => parseIdentityDocument(JSON.stringify({ ...document, ...wrong })), SourceError);
  }
});

test('HTML, a truncated body and JSON that is no object are errors', () => {
  const text = JSON.stringify(document);
  for (const body of ['', '<html></html>', text.slice(0, -1), text.slice(0, 40), '[]', 'null', '"text"', '42']) {
    assert.throws(() => parseIdentityDocument(body), { name: 'SourceError', message: /expected a JSON object, got "/ });
  }
});

test('whatever comes in, the outcome is facts or a SourceError of one short line', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json()), (body) => {
      try {
        parseIdentityDocument(body);
      } catch (error) {
        assert.ok(error instanceof SourceError);
        assert.ok(error.message.length < 200 && !error.message.includes('\n'), error.message);
      }
    }),
  );
});
