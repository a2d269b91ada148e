import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { type MassLossFlags, massLossLimits, massLossOptions } from '../../src/config/mass-loss-flags.ts';

function limits(...args: string[]) {
  const command = new Command().exitOverride().configureOutput({ outputError: () => {} });
  for (const option of massLossOptions()) command.addOption(option);
  return massLossLimits(command.parse(args, { from: 'user' }).opts<MassLossFlags>());
}

test('the default limits are 30 % and 5 nodes', () => {
  assert.deepEqual(limits(), { share: 0.3, count: 5 });
  assert.deepEqual(limits('--mass-loss-share', '12.5%', '--mass-loss-count', '1'), { share: 0.125, count: 1 });
  assert.deepEqual(limits('--mass-loss-share=100'), { share: 1, count: 5 });
});

test('off means no limits', () => {
  assert.equal(limits('--mass-loss-share', 'off'), null);
});

test('a fraction, and any other text that is not a percentage, is refused', () => {
  for (const text of ['0.3', '0', '101%', '-5', '', 'OFF', '30 %', '1e1'])
    assert.throws(() => limits(`--mass-loss-share=${text}`), /from 1% to 100%, such as 30%, or off/, text);
  for (const text of ['0', '-1', '2.5', 'off'])
    assert.throws(() => limits(`--mass-loss-count=${text}`), /whole number from 1 to/, text);
});
