import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Command } from 'commander';
import {
  type AuditFlags,
  agentOptions,
  auditConfig,
  auditOptions,
  drainConfig,
  type EcsWriteFlags,
  ecsWriteOptions,
  type IdentityFlags,
  identityConfig,
  identityOptions,
  notifyConfig,
} from '../../src/config/agent-flags.ts';

describe('audit options', () => {
  function parse(...argv: string[]) {
    const command = new Command().exitOverride().configureOutput({ writeErr: () => {} });
    for (const option of auditOptions()) command.addOption(option);
    return auditConfig(command.parse(argv, { from: 'user' }).opts<AuditFlags>());
  }

  test('without an interval there is no continuous audit', () => {
    assert.equal(parse(), null);
    assert.equal(parse('--audit-clusters', 'demo'), null);
  });

  test('the audit’s clusters are those on the roll, the named ones, or all', () => {
    const clusters = (...argv: string[]) => parse('--audit-interval', '5m', ...argv)?.clusters;
    assert.equal(parse('--audit-interval', '5m')?.intervalMs, 300_000);
    assert.equal(clusters(), 'roll');
    assert.equal(clusters('--audit-clusters', 'all'), 'all');
    assert.deepEqual(clusters('--audit-clusters', 'demo, web,demo'), ['demo', 'web']);
    const arn = 'arn:aws:ecs:us-east-1:123456789012:cluster/demo';
    assert.deepEqual(clusters('--audit-clusters', arn), [arn]);
  });

  test('invalid values are refused with the valid ones', () => {
    assert.throws(() => parse('--audit-interval', '10s'), /from 1m to 1d/);
    assert.throws(() => parse('--audit-interval', '5'), /duration such as/);
    for (const names of ['', 'demo,', 'a b', 'demo;rm']) {
      assert.throws(() => parse('--audit-interval', '5m', '--audit-clusters', names), /not a cluster’s name or ARN/);
    }
  });
});

describe('cluster option', () => {
  const arn = 'arn:aws:ecs:us-east-1:123456789012:cluster/from-arn';
  function parse(env: Record<string, string>, ...argv: string[]): string | undefined {
    const command = new Command().exitOverride().configureOutput({ outputError: () => {} });
    const option = agentOptions(env).find(({ long }) => long === '--cluster') ?? assert.fail('no such option');
    return command.addOption(option).parse(argv, { from: 'user' }).opts<{ cluster?: string }>().cluster;
  }

  test('the flag outranks ecs-agent’s variable, and both take a name or an ARN', () => {
    assert.equal(parse({}), undefined);
    assert.equal(parse({ ECS_CLUSTER: 'demo' }), 'demo');
    assert.equal(parse({ ECS_CLUSTER: arn }), 'from-arn');
    assert.equal(parse({ ECS_CLUSTER: 'demo' }, '--cluster', arn), 'from-arn');
  });

  test('a wrong name is refused, but ecs-agent’s own variable keeps no node off the roll', () => {
    for (const wrong of ['', 'a b', 'demo,demo-2']) {
      assert.throws(() => parse({}, '--cluster', wrong), /name or ARN of one ECS cluster/);
      assert.equal(parse({ ECS_CLUSTER: wrong }), undefined);
    }
  });
});

describe('ecs write options', () => {
  function parse(...args: string[]): EcsWriteFlags {
    const command = new Command().exitOverride().configureOutput({ outputError: () => {} });
    for (const option of ecsWriteOptions()) command.addOption(option);
    return command.parse(args, { from: 'user' }).opts<EcsWriteFlags>();
  }

  test('nothing is changed in ECS unless it is said', () => {
    assert.equal(parse().ecsAttributes, false);
    assert.equal(drainConfig(parse()), null);
    assert.equal(drainConfig(parse('--drain-max-share', '50%')), null);
  });

  test('causes, time and share of a drain', () => {
    const config = drainConfig(parse('--drain-on', 'interruption', '--drain-max-share', '25'));
    assert.deepEqual(config, { on: ['interruption'], criticalAfterMs: 300_000, maxSharePercent: 25 });
    const both = drainConfig(parse('--drain-on', 'critical, interruption', '--drain-critical-after', '90s'));
    assert.deepEqual(both, { on: ['interruption', 'critical'], criticalAfterMs: 90_000, maxSharePercent: 10 });
  });

  for (const args of [
    ['--drain-on', 'rebalance'],
    ['--drain-on', 'critical,'],
    ['--drain-on', ''],
    ['--drain-critical-after', '1s'],
    ['--drain-max-share', '0%'],
    ['--drain-max-share', '0.1'],
  ]) {
    test(`refuses ${args.join(' ')}`, () => {
      assert.throws(() => parse(...args), { name: /CommanderError|InvalidArgumentError/ });
    });
  }
});

describe('identity options', () => {
  function config(...args: string[]) {
    const command = new Command().exitOverride().configureOutput({ outputError: () => {} });
    // A developer's own variables do not belong to this test.
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
});

describe('notify option', () => {
  test('outside systemd no notification is sent, unless stdout was asked for', () => {
    assert.equal(notifyConfig('auto', {}), null);
    assert.equal(notifyConfig('auto', { WATCHDOG_USEC: '30000000' }), null);
    assert.equal(notifyConfig('off', { NOTIFY_SOCKET: '/run/systemd/notify' }), null);
    assert.deepEqual(notifyConfig('stdout', {}), { by: 'stdout', watchdogMs: null });
  });

  test('the watchdog’s limit is systemd’s, in microseconds; what is no number means that there is no watchdog', () => {
    const watchdogMs = (text: string) => notifyConfig('auto', { NOTIFY_SOCKET: '@x', WATCHDOG_USEC: text })?.watchdogMs;
    assert.equal(watchdogMs('30000000'), 30_000);
    for (const text of ['', '0', '-1', '1e6', '30s', '9'.repeat(17)]) assert.equal(watchdogMs(text), null, text);
  });
});
