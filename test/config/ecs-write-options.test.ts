import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { drainConfig, type EcsWriteFlags, ecsWriteOptions } from '../../src/config/agent.ts';

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
