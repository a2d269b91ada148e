import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fleetStatus, readStoreStatus } from '../../src/audit/fleet-status.ts';
import { parseFilter } from '../../src/record/filter.ts';
import type { Store } from '../../src/store/store.ts';
import { fakeStore } from '../support/fake-store.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import { sampleNode } from './sample-sides.ts';

const { signal } = new AbortController();

test('a filter selects among all drains; the answer has 5,000 of them, and how many there are', async () => {
  const claim = {
    phase: 'drained',
    arn: 'arn',
    cluster: 'demo',
    reason: 'r',
    since: '2026-01-01T00:00:00Z',
    session: 's',
  };
  const drained = Array.from({ length: 5_030 }, (_, n) => ({ instanceId: sampleInstanceId(n), claim }));
  const store: Store = Object.create(fakeStore(), {
    drainSlots: { value: { list: async () => [...drained, { instanceId: 'of another program', claim: null }] } },
  });
  const read = await readStoreStatus(store, simulatedClock(), signal);
  // The last 20 nodes are in another cluster.
  const entries = drained.map((_, n) => sampleNode(n, { cluster: n < 5_010 ? 'demo' : 'prod' }));
  const roll = { roll: { revision: '7', entries, skipped: [] }, ageMs: 0, stale: false, uncertainty: null };
  const all = fleetStatus(roll, read, parseFilter({}));
  assert.deepEqual([all.drains?.length, all.draining], [5_000, 5_030]);
  const prod = fleetStatus(roll, read, parseFilter({ cluster: ['prod'] }));
  assert.deepEqual([prod.drains?.length, prod.draining], [20, 20]);
  const unknown = fleetStatus(roll, { ...read, drains: null }, parseFilter({}));
  assert.deepEqual([unknown.drains, unknown.draining], [null, null]);
});
