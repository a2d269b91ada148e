import assert from 'node:assert/strict';
import { test } from 'node:test';
import { notifyConfig } from '../../src/config/agent.ts';

test('outside systemd nobody is told anything, unless stdout was asked for', () => {
  assert.equal(notifyConfig('auto', {}), null);
  assert.equal(notifyConfig('auto', { WATCHDOG_USEC: '30000000' }), null);
  assert.equal(notifyConfig('off', { NOTIFY_SOCKET: '/run/systemd/notify' }), null);
  assert.deepEqual(notifyConfig('stdout', {}), { by: 'stdout', watchdogMs: null });
});

test('the watchdog’s limit is systemd’s, in microseconds; what is no number means that nobody watches', () => {
  const watchdogMs = (text: string) => notifyConfig('auto', { NOTIFY_SOCKET: '@x', WATCHDOG_USEC: text })?.watchdogMs;
  assert.equal(watchdogMs('30000000'), 30_000);
  for (const text of ['', '0', '-1', '1e6', '30s', '9'.repeat(17)]) assert.equal(watchdogMs(text), null, text);
});
