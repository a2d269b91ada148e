import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareRolls } from '../../src/audit/compare.ts';
import { emptyAuditMemory, recall, remember } from '../../src/audit/history.ts';
import { NOW_MS, sampleInstance, sampleSides } from './sample-sides.ts';

const ghosts = (count: number) => {
  const instances = Array.from({ length: count }, (_, n) => sampleInstance(n));
  return compareRolls(sampleSides([], instances), emptyAuditMemory, NOW_MS);
};

test('the memory is bounded and keeps the oldest differences', () => {
  const old = remember(emptyAuditMemory, ghosts(3_000).slice(2_999), NOW_MS - 60_000);
  const [kept] = Object.keys(old.sightings);
  assert.ok(kept);
  const full = remember(old, ghosts(3_000), NOW_MS);
  assert.equal(Object.keys(full.sightings).length, 2_000);
  assert.deepEqual(recall(full, kept, NOW_MS)?.audits, 2);
  assert.ok(JSON.stringify(full).length < 1_000_000, 'it fits in a value of etcd, 1.5 MB');
});

test('a key that is not in the stored memory is unknown, also one of Object’s properties', () => {
  assert.equal(recall(emptyAuditMemory, 'constructor', NOW_MS), null);
});
