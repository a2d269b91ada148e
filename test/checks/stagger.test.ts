import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { firstLookMs, nextLookMs } from '../../src/checks/run-probes.ts';

test('first looks are spread evenly over one interval, the first at once', () => {
  assert.deepEqual(
    [0, 1, 2, 3].map((index) => firstLookMs(index, 4, 10_000)),
    [0, 2_500, 5_000, 7_500],
  );
  assert.equal(firstLookMs(0, 1, 10_000), 0);
});

test('the next look keeps the beat, leaves out what was missed, and never is in the past', () => {
  assert.equal(nextLookMs(1_000, 10_000, 1_000), 11_000);
  assert.equal(nextLookMs(1_000, 10_000, 4_000), 11_000);
  assert.equal(nextLookMs(1_000, 10_000, 11_000), 21_000);
  assert.equal(nextLookMs(1_000, 10_000, 38_000), 41_000);
  // A timer may fire a moment early.
  assert.equal(nextLookMs(1_000, 10_000, 999.5), 11_000);
  // A whole interval later, but for what a number of that size cannot hold.
  const dueMs = firstLookMs(2, 9, 10_000) + 30_000;
  assert.ok(nextLookMs(dueMs, 10_000, dueMs + 10_000) > dueMs + 10_000);
});

test('however long their looks take, no two checks are ever due closer together than the spread', () => {
  const intervalMs = 10_000;
  const lookMs = fc.integer({ min: 0, max: 25_000 });
  fc.assert(
    fc.property(
      fc.array(fc.array(lookMs, { minLength: 5, maxLength: 30 }), { minLength: 2, maxLength: 20 }),
      (checks) => {
        const due = checks.flatMap((looks, index) => {
          let dueMs = firstLookMs(index, checks.length, intervalMs);
          return looks.map((tookMs) => {
            const began = dueMs;
            dueMs = nextLookMs(dueMs, intervalMs, began + tookMs);
            assert.ok(dueMs > began + tookMs);
            return { index, began };
          });
        });
        due.sort((a, b) => a.began - b.began);
        for (const [position, { index, began }] of due.entries()) {
          const next = due[position + 1];
          if (next && next.index !== index) assert.ok(next.began - began > intervalMs / checks.length - 0.01);
        }
      },
    ),
  );
});
