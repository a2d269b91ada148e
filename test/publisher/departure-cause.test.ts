import assert from 'node:assert/strict';
import { test } from 'node:test';
import { departureCause } from '../../src/agent/publisher/plan.ts';
import { sampleRecord } from '../support/sample-record.ts';

test('what was announced is the cause; a recommendation takes no node away, nor does what is not known', () => {
  const cause = (kind: string) => departureCause(sampleRecord({ interruption: { kind, action: null, time: null } }));
  assert.equal(departureCause(sampleRecord()), 'stopped');
  assert.equal(cause('spot-interruption'), 'spot-interruption');
  assert.equal(cause('maintenance'), 'maintenance');
  assert.equal(cause('asg-termination'), 'asg-termination');
  assert.equal(cause('rebalance-recommendation'), 'stopped');
  assert.equal(cause('brand-new'), 'stopped');
});
