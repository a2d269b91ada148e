import assert from 'node:assert/strict';
import { it } from 'node:test';
import { encodePresence, encodeRecord } from '../../src/record/codec.ts';
import { ROOT } from '../../src/store/keys.ts';
import type { Kv, RangeQuery } from '../../src/store/kv.ts';
import { readRoll } from '../../src/store/read-roll.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const { signal } = new AbortController();
const presence = { session: 'x', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };

/** Nodes, and foreign keys before, between and after them, in pages of `pageSize` keys. */
function pagedKv(nodes: number, pageSize: number): { kv: Kv; queries: RangeQuery[]; keysRead: () => number } {
  const ids = Array.from({ length: nodes }, (_, n) => sampleInstanceId(n));
  const kvs = [
    { key: `${ROOT}a`, value: '' },
    ...ids.map((id) => ({ key: `${ROOT}presence/${id}`, value: encodePresence(presence) })),
    { key: `${ROOT}q`, value: '' },
    { key: `${ROOT}records/a`, value: '' },
    ...ids.map((id) => ({ key: `${ROOT}records/${id}`, value: encodeRecord(sampleRecord({ ec2InstanceId: id })) })),
    { key: `${ROOT}z`, value: '' },
  ].map((entry) => ({ ...entry, lease: '0', modRevision: '1' }));
  const queries: RangeQuery[] = [];
  let keysRead = 0;
  const range: Kv['range'] = async (query) => {
    queries.push(query);
    const rest = kvs.filter(({ key }) => key >= (query.from ?? query.prefix));
    keysRead += Math.min(rest.length, pageSize);
    return { revision: query.revision ?? '7', kvs: rest.slice(0, pageSize), next: rest[pageSize]?.key ?? null };
  };
  return { kv: { range } as Kv, queries, keysRead: () => keysRead };
}

it('reads every key once, wherever the pages end, and all pages at the revision of the first', async () => {
  for (let pageSize = 1; pageSize <= 25; pageSize += 1) {
    const { kv, queries, keysRead } = pagedKv(10, pageSize);
    const roll = await readRoll(kv, signal);
    const ids = roll.entries.map(({ record }) => record.ec2InstanceId);
    assert.deepEqual(
      ids,
      Array.from({ length: 10 }, (_, n) => sampleInstanceId(n)),
      `pages of ${pageSize}`,
    );
    assert.ok(roll.entries.every((entry) => entry.presence !== null));
    const foreign = roll.skipped.map(({ key }) => key).sort();
    assert.deepEqual(foreign, [`${ROOT}a`, `${ROOT}q`, `${ROOT}records/a`, `${ROOT}z`], `pages of ${pageSize}`);
    assert.equal(roll.revision, '7');
    assert.deepEqual([...new Set(queries.slice(1).map(({ revision }) => revision))], pageSize < 24 ? ['7'] : []);
    // A first page that reaches the records is read on from; else the two parts overlap in one page at most.
    const overlap = pageSize > 12 ? 0 : pageSize;
    assert.ok(keysRead() <= 24 + overlap, `${keysRead()} keys in pages of ${pageSize}`);
  }
});
