import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeRequests, logRequest, NO_REQUESTS } from '../../../src/simulator/ecs/server.ts';

function logged(...instantsMs: number[]) {
  const log = instantsMs.reduce(
    (log, atMs) => logRequest(log, { operation: 'ListClusters', at: new Date(atMs).toISOString(), atMs, error: null }),
    NO_REQUESTS,
  );
  return describeRequests(log) as { highestPerSecond: number; recent: unknown[]; operations: object };
}

test('the highest rate is that of any one second, not of the clock’s', () => {
  assert.equal(logged().highestPerSecond, 0);
  assert.equal(logged(0, 500, 1_000, 1_500, 2_000).highestPerSecond, 2);
  assert.equal(logged(0, 900, 1_100, 1_899, 3_000).highestPerSecond, 3);
});

test('it keeps the latest 2,000, and counts all', () => {
  const { recent, operations } = logged(...Array.from({ length: 2_100 }, (_, index) => index));
  assert.equal(recent.length, 2_000);
  assert.deepEqual(operations, { ListClusters: { requests: 2_100, errors: 0 } });
});
