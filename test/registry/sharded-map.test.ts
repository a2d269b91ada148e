import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { lossMap } from '../../src/registry/sharded-map.ts';
import { sampleInstanceId } from '../support/sample-record.ts';

const sorted = <V>(entries: Iterable<[string, V]>) => [...entries].sort(([a], [b]) => (a < b ? -1 : 1));

test('a loss map has the same entries as a Map, and a change leaves earlier versions unchanged', () => {
  const change = fc.record({ id: fc.nat({ max: 40 }).map(sampleInstanceId), put: fc.boolean(), value: fc.nat() });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 120 }), (changes) => {
      let map = lossMap<number>();
      const expected = new Map<string, number>();
      for (const { id, put, value } of changes) {
        const [before, entries] = [map, sorted(map)];
        map = put ? map.with(id, value) : map.without(id);
        if (put) expected.set(id, value);
        else expected.delete(id);
        assert.deepEqual([before.size, sorted(before)], [entries.length, entries]);
        assert.deepEqual([map.get(id), map.has(id)], [expected.get(id), expected.has(id)]);
      }
      assert.equal(map.size, expected.size);
      assert.deepEqual(sorted(map), sorted(expected));
      assert.deepEqual(sorted(map.entries()), sorted(expected));
      assert.deepEqual([...map.keys()].sort(), [...expected.keys()].sort());
      assert.deepEqual([...map.values()].sort(), [...expected.values()].sort());
      const visited: [string, number][] = [];
      map.forEach((value, key) => {
        visited.push([key, value]);
      });
      assert.deepEqual(sorted(visited), sorted(expected));
    }),
    { numRuns: 200 },
  );
});
