import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNotices } from '../../src/simulator/node.ts';

const event = {
  Code: 'system-reboot',
  NotBefore: '21 Jan 2027 09:00:43 GMT',
  NotAfter: '21 Jan 2027 09:17:23 GMT',
  Description: 'scheduled reboot',
  EventId: 'instance-event-0d59937288b749b32',
  State: 'active',
};

test('notices are taken as they are given, and only those that are given', () => {
  for (const notices of [
    {},
    { spot: { action: 'terminate', time: '2026-11-22T10:26:18Z' } },
    { spot: null, rebalance: { noticeTime: '2026-11-22T10:26:18Z' } },
    { maintenance: [event, { ...event, State: 'completed' }] },
    { lifecycleState: 'Terminated' },
    { lifecycleState: null },
  ]) {
    assert.deepEqual(parseNotices(notices), notices);
  }
});

test('what EC2 would never say is refused in one line that names it', () => {
  for (const [value, where] of [
    [{ spot: { action: 'explode', time: '2026-11-22T10:26:18Z' } }, 'spot.action'],
    [{ spot: { action: 'stop', time: 'soon' } }, 'spot.time'],
    [{ rebalance: {} }, 'rebalance.noticeTime'],
    [{ maintenance: [{ ...event, State: 'maybe' }] }, 'maintenance.0.State'],
    [{ maintenance: Array(21).fill(event) }, 'maintenance'],
    [{ lifecycleState: 'In Service' }, 'lifecycleState'],
    [{ weather: 'fine' }, 'unknown key "weather"; use any of spot, rebalance, maintenance, lifecycleState'],
    [[], 'expected a JSON object with any of spot, rebalance, maintenance, lifecycleState'],
    ['spot', 'expected a JSON object'],
  ] as const) {
    assert.throws(
      () => parseNotices(value),
      (error: Error) => error.name === 'UsageError' && error.message.startsWith(`notices: ${where}`),
      JSON.stringify(value),
    );
  }
});
