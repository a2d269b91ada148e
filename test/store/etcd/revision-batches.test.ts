import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { RevisionEvent } from '../../../src/store/etcd/watch-stream.ts';
import { regroup } from '../../../src/store/etcd/watch-stream.ts';
import type { KvBatch } from '../../../src/store/kv.ts';

const event = (revision: number, key: string): RevisionEvent => ({
  revision: String(revision),
  event: { key, value: 'v', previous: null },
});

describe('events grouped by revision', () => {
  it('are one batch per revision', () => {
    const { batches, held } = regroup([], [event(5, 'a'), event(5, 'b'), event(7, 'c')], false);
    assert.deepEqual(
      batches.map(({ revision, events }) => [revision, events.map(({ key }) => key)]),
      [
        ['5', ['a', 'b']],
        ['7', ['c']],
      ],
    );
    assert.deepEqual(held, []);
  });

  it('are whole revisions wherever the answer was split', () => {
    const revisions = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(revisions, fc.array(fc.nat(20)), (sizes, cuts) => {
        const all = sizes.flatMap((size, index) => Array.from({ length: size }, (_, n) => event(index + 1, `${n}`)));
        const edges = [...new Set(cuts.filter((cut) => cut > 0 && cut < all.length))].sort((a, b) => a - b);
        const got: KvBatch[] = [];
        let held: readonly RevisionEvent[] = [];
        for (const [index, start] of [0, ...edges].entries()) {
          const end = edges[index] ?? all.length;
          const regrouped = regroup(held, all.slice(start, end), end < all.length);
          got.push(...regrouped.batches);
          held = regrouped.held;
        }
        assert.deepEqual(got, regroup([], all, false).batches);
        assert.deepEqual(held, []);
      }),
    );
  });
});
