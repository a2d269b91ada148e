import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExternalIdentity } from '../../src/sources/external-instance.ts';
import { type ExternalHost, readExternal } from '../../src/sources/external-instance.ts';
import { mergeMetadata } from '../../src/sources/metadata.ts';
import { SourceError } from '../../src/sources/source-error.ts';

const ID = 'mi-0123456789abcdef0';
const HOST: ExternalHost = {
  registration: async () => ({ instanceId: ID, region: 'eu-west-1' }),
  interfaces: () => ({
    eth0: [
      { address: '10.0.0.7', internal: false, family: 'IPv4', netmask: '', mac: '', cidr: null },
      { address: '10.0.0.8', internal: false, family: 'IPv4', netmask: '', mac: '', cidr: null },
    ],
  }),
  hostname: () => 'rack7.example.com',
  routes: async () => 'eth0 00000000 0101000A 0003 0 0 0 00000000 0 0 0\n',
};
const SSM: ExternalIdentity = {
  kind: 'external',
  instanceId: null,
  registrationFile: '/r',
  privateIpAddress: null,
};

test('what a host knows of itself; what only EC2 could say is null', async () => {
  const unknown = { publicIpAddress: null, availabilityZone: null, instanceType: null, imageId: null };
  const facts = {
    ...unknown,
    ec2InstanceId: ID,
    privateIpAddress: '10.0.0.7',
    privateDnsName: 'rack7.example.com',
    region: 'eu-west-1',
    accountId: null,
    instanceLifecycle: null,
  };
  assert.deepEqual(await readExternal(SSM, HOST), { facts, failures: [] });
  assert.deepEqual(mergeMetadata(null, { facts, failures: [] }), { facts, refused: null });
});

test('an id that was given needs no file, and an address that was given no interface', async () => {
  const dead: ExternalHost = {
    ...HOST,
    registration: () => assert.fail('it was read'),
    interfaces: () => assert.fail('they were read'),
  };
  const { facts, failures } = await readExternal({ ...SSM, instanceId: ID, privateIpAddress: '192.0.2.1' }, dead);
  assert.deepEqual([facts.ec2InstanceId, facts.privateIpAddress, facts.region, failures], [ID, '192.0.2.1', null, []]);
});

test('a file that cannot be read gives nothing; an address that is not clear is missing, the rest is there', async () => {
  const fileless: ExternalHost = { ...HOST, registration: async () => Promise.reject(new SourceError('gone')) };
  assert.deepEqual(await readExternal(SSM, fileless), { facts: {}, failures: ['gone'] });
  const routeless: ExternalHost = {
    ...HOST,
    routes: async () => Promise.reject(new Error('ENOENT')),
    hostname: () => 'not a name',
  };
  const { facts, failures } = await readExternal(SSM, routeless);
  assert.equal('privateIpAddress' in facts, false);
  assert.equal(facts.privateDnsName, null);
  assert.match(failures.join(), /^private address: no default route, and eth0 10\.0\.0\.7, eth0 10\.0\.0\.8/);
});

test('a host that was registered anew is another node: the last facts stay, and the reason says what to do', async () => {
  const { facts } = mergeMetadata(null, await readExternal(SSM, HOST));
  const other: ExternalHost = {
    ...HOST,
    registration: async () => ({ instanceId: 'mi-0fedcba9876543210', region: null }),
  };
  const merged = mergeMetadata(facts, await readExternal(SSM, other), 'the SSM registration');
  assert.equal(merged.facts, facts);
  assert.match(merged.refused ?? '', /^the SSM registration is of another instance, mi-0fedcba9876543210, not mi-0123/);
});
