import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { type AuditFlags, auditConfig, auditOptions } from '../../src/config/agent.ts';

function parse(...argv: string[]) {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  for (const option of auditOptions()) command.addOption(option);
  return auditConfig(command.parse(argv, { from: 'user' }).opts<AuditFlags>());
}

test('there is no standing audit unless an interval is given', () => {
  assert.equal(parse(), null);
  assert.equal(parse('--audit-clusters', 'demo'), null);
});

test('its clusters are those on the roll, those that are named, or all', () => {
  const clusters = (...argv: string[]) => parse('--audit-interval', '5m', ...argv)?.clusters;
  assert.equal(parse('--audit-interval', '5m')?.intervalMs, 300_000);
  assert.equal(clusters(), 'roll');
  assert.equal(clusters('--audit-clusters', 'all'), 'all');
  assert.deepEqual(clusters('--audit-clusters', 'demo, web,demo'), ['demo', 'web']);
  const arn = 'arn:aws:ecs:us-east-1:123456789012:cluster/demo';
  assert.deepEqual(clusters('--audit-clusters', arn), [arn]);
});

test('what cannot be is refused with what is allowed', () => {
  assert.throws(() => parse('--audit-interval', '10s'), /from 1m to 1d/);
  assert.throws(() => parse('--audit-interval', '5'), /duration such as/);
  for (const names of ['', 'demo,', 'a b', 'demo;rm']) {
    assert.throws(() => parse('--audit-interval', '5m', '--audit-clusters', names), /no cluster’s name or ARN/);
  }
});
