import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { type IdentityFlags, identityConfig, identityOptions } from '../../src/config/agent.ts';

function config(...args: string[]) {
  const command = new Command().exitOverride().configureOutput({ outputError: () => {} });
  // A developer's own variables are none of this test's.
  for (const option of identityOptions()) command.addOption(Object.assign(option, { envVar: undefined }));
  return identityConfig(command.parse(args, { from: 'user' }).opts<IdentityFlags>());
}

test('EC2 unless it is said otherwise', () => {
  assert.deepEqual(config(), { kind: 'ec2' });
  const external = {
    kind: 'external',
    instanceId: null,
    registrationFile: '/var/lib/amazon/ssm/registration',
    privateIpAddress: null,
  };
  assert.deepEqual(config('--identity', 'ssm'), external);
  assert.deepEqual(config('--identity', 'ssm', '--ssm-registration-file', '/r', '--private-ip', '10.0.0.7'), {
    ...external,
    registrationFile: '/r',
    privateIpAddress: '10.0.0.7',
  });
  assert.deepEqual(config('--identity', 'mi-0123456789abcdef0'), { ...external, instanceId: 'mi-0123456789abcdef0' });
});

test('what cannot be is refused', () => {
  for (const identity of ['', 'auto', 'EC2', 'i-0123456789abcdef0', 'mi-0123']) {
    assert.throws(() => config('--identity', identity), /Write ec2, ssm, or the id of a managed instance/, identity);
  }
  for (const address of ['', '10.0.0', '::1', '0.0.0.0', 'host']) {
    assert.throws(() => config('--identity', 'ssm', '--private-ip', address), /Write an IPv4 address/, address);
  }
  assert.throws(() => config('--private-ip', '10.0.0.7'), { exitCode: 2, message: /is for ECS Anywhere/ });
});
