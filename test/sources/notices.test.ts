import assert from 'node:assert/strict';
import { test } from 'node:test';
import { INTERRUPTION_KINDS, mostUrgent, NO_NOTICES, type Notices } from '../../src/sources/notices.ts';

test('of several notices the one that leaves the least time is told', () => {
  let notices: Notices = NO_NOTICES;
  assert.equal(mostUrgent(notices), null);
  const told: unknown[] = [];
  for (const kind of [...INTERRUPTION_KINDS].reverse()) {
    notices = { ...notices, [kind]: { kind, action: null, time: null } };
    told.push(mostUrgent(notices)?.kind);
  }
  assert.deepEqual(told, ['rebalance-recommendation', 'maintenance', 'asg-termination', 'spot-interruption']);
});
