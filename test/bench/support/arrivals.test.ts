import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Arrivals, noteArrivals } from '../../../bench/support/arrivals.ts';

function arrivalsOf(chunks: readonly string[]): Record<string, number[]> {
  const arrivals: Arrivals = new Map();
  let nowMs = 0;
  const take = noteArrivals('\nid: ', arrivals, () => nowMs);
  // One piece of memory for all chunks, as the readers have it.
  const memory = Buffer.alloc(1_000);
  for (const chunk of chunks) {
    nowMs += 1;
    take(memory.subarray(0, memory.write(chunk)));
  }
  return Object.fromEntries(arrivals);
}

test('each revision is noted with the instant at which its chunk came', () => {
  assert.deepEqual(arrivalsOf(['data: a\nid: 7\n\ndata: b\nid: 8\n\n', 'data: c\nid: 9\n\n']), {
    7: [1],
    8: [1],
    9: [2],
  });
});

test('a revision that is cut anywhere is noted once, whole, when its end came', () => {
  const text = 'data: a\nid: 123\n\n';
  for (let cut = 1; cut < text.length; cut += 1) {
    const wholeAt = cut > text.indexOf('3') + 1 ? 1 : 2;
    assert.deepEqual(arrivalsOf([text.slice(0, cut), text.slice(cut)]), { 123: [wholeAt] }, `cut at ${cut}`);
  }
});

test('of two streams both instants are kept', () => {
  const arrivals: Arrivals = new Map();
  for (const atMs of [5, 6]) noteArrivals('id: ', arrivals, () => atMs)(Buffer.from('id: 1\n'));
  assert.deepEqual([...arrivals], [['1', [5, 6]]]);
});
