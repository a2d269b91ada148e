import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMaintenanceNotice } from '../../src/sources/notices.ts';

const reboot = {
  Code: 'system-reboot',
  NotBefore: '21 Jan 2027 09:00:43 GMT',
  NotAfter: '21 Jan 2027 09:17:23 GMT',
  Description: 'scheduled reboot',
  EventId: 'instance-event-0d59937288b749b32',
  State: 'active',
};
const retirement = { ...reboot, Code: 'instance-retirement', NotBefore: '3 Jan 2027 00:00:00 GMT' };
const parse = (...events: unknown[]) => parseMaintenanceNotice(JSON.stringify(events));

test('an active event is a notice with its code and the instant it does not begin before', () => {
  const expected = { kind: 'maintenance', action: 'system-reboot', time: '2027-01-21T09:00:43.000Z' };
  assert.deepEqual(parse(reboot), expected);
});

test('an empty list is none, and so are events that are completed or cancelled', () => {
  assert.equal(parse(), null);
  for (const State of ['completed', 'canceled', 'cancelled', 'Completed'])
    assert.equal(parse({ ...reboot, State }), null);
  assert.equal(parse({ ...reboot, State: 'completed' }, retirement)?.action, 'instance-retirement');
});

test('of several the earliest is told, in whatever order they are listed; an unreadable date comes last', () => {
  const undated = { ...reboot, Code: 'instance-stop', NotBefore: 'soon' };
  for (const events of [
    [reboot, retirement, undated],
    [undated, retirement, reboot],
    [retirement, undated, reboot],
  ])
    assert.equal(parse(...events)?.action, 'instance-retirement');
  assert.deepEqual(parse(undated), { kind: 'maintenance', action: 'instance-stop', time: null });
});

test('an event without a state is taken seriously', () => {
  const { State: _, ...stateless } = reboot;
  assert.equal(parse(stateless)?.action, 'system-reboot');
});

test('an answer that is no list of events is an error', () => {
  for (const text of ['', '<html>', '{}', '[42]', '[null]', '[{"Code":42}]', '[{"Code":"<b>"}]'])
    assert.throws(() => parseMaintenanceNotice(text), /scheduled: .*expected .*, got "/, text);
});
