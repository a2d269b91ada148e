import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import fc from 'fast-check';
import { encodePresence, encodeRecord } from '../../src/record/codec.ts';
import { presenceKey, ROOT, recordKey } from '../../src/store/keys.ts';
import type { KeyValue, Kv, RangeEntry, RangeQuery } from '../../src/store/kv.ts';
import { collectRoll, interpretBatch, readRoll, SUMMARY, WHOLE } from '../../src/store/read-roll.ts';
import { CompactedError, StoreError } from '../../src/store/store-errors.ts';
import { describeUnread } from '../../src/store/unreadable-nodes.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

describe('collect roll', () => {
  type Stored = 'readable' | 'unreadable' | 'none';

  const presence = { session: 'session-a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
  const entry = (key: string, value: string): RangeEntry => ({ key, value, modRevision: '1' });
  const stored = fc.constantFrom<Stored>('readable', 'unreadable', 'none');

  test('joins records and presences sorted by id, and names the unreadable keys, in whatever order the pages come', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ record: stored, presence: stored }), { maxLength: 12 }),
        fc.infiniteStream(fc.nat()),
        (nodes, order) => {
          const kvs = nodes.flatMap((node, n) => {
            const id = sampleInstanceId(n);
            const record = node.record === 'readable' ? encodeRecord(sampleRecord({ ec2InstanceId: id })) : '{';
            const beside = node.presence === 'readable' ? encodePresence(presence) : '{';
            return [
              ...(node.record === 'none' ? [] : [entry(recordKey(id), record)]),
              ...(node.presence === 'none' ? [] : [entry(presenceKey(id), beside)]),
            ];
          });
          kvs.sort((a, b) => (a.key < b.key ? -1 : 1));
          const pages = Array.from({ length: Math.ceil(kvs.length / 3) }, (_, n) => kvs.slice(3 * n, 3 * n + 3))
            .map((page) => ({ page, at: order.next().value }))
            .sort((a, b) => a.at - b.at);
          const roll = collectRoll(WHOLE);
          for (const { page } of pages) roll.add(page);
          const { revision, entries, skipped } = roll.finish('7');

          const ids = nodes.map((_, n) => sampleInstanceId(n));
          const whole = ids.filter((_, n) => nodes[n]?.record === 'readable');
          assert.equal(revision, '7');
          assert.deepEqual(
            entries.map((each) => [each.record.ec2InstanceId, each.presence]),
            whole.map((id) => [id, nodes[ids.indexOf(id)]?.presence === 'readable' ? presence : null]),
          );
          const named = ids.flatMap((id, n) => {
            const node = nodes[n];
            const alone = node?.record === 'none' && node.presence === 'readable';
            return [
              ...(node?.record === 'unreadable' ? [recordKey(id)] : []),
              ...(node?.presence === 'unreadable' || alone ? [presenceKey(id)] : []),
            ];
          });
          assert.deepEqual(skipped.map(({ key }) => key).sort(), named.sort());
        },
      ),
    );
  });

  test('a key that has the name of the prefix is not taken for the line that stands for more', () => {
    const roll = collectRoll(WHOLE);
    roll.add([entry(ROOT, '')]);
    const { skipped } = roll.finish('7');
    assert.equal(describeUnread(skipped, sampleInstanceId(1)), null);
    assert.deepEqual(
      skipped.map(({ key }) => key),
      ['"v1/"'],
    );
  });

  test('a key that cannot be read is named by text that is safe to print, and by the same when it is gone', () => {
    const hostile = `${recordKey('')}\u001b]0;x\u009b2J\u202e${'k'.repeat(1_000_000)}`;
    const safe = `${recordKey('')}?]0;x?2J?${'k'.repeat(1_000)}`.slice(0, 300);
    const roll = collectRoll(WHOLE);
    roll.add([entry(hostile, '{}')]);
    assert.deepEqual(roll.finish('7').skipped, [{ key: safe, reason: 'not named after an instance id' }]);
    const changes = ['{}', null].flatMap((value) => {
      const events = [{ key: hostile, value, previous: null }];
      return interpretBatch({ revision: '8', events }).changes;
    });
    const named = changes.map((each) => (each.kind === 'skipped' ? each.skipped.key : 'key' in each && each.key));
    assert.deepEqual(named, [safe, safe]);
  });
});

describe('read roll', () => {
  const { signal } = new AbortController();
  const presence = { session: 'x', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
  const FOREIGN = ['a', 'presence', 'presence/a', 'presence/i-9z', 'presence/z', 'q', 'records/a', 'records/z', 'z'];

  interface PagedKv {
    readonly kv: Kv;
    readonly queries: RangeQuery[];
    /** Of all pages of the past, each time it was read. */
    readonly keysRead: string[];
    readonly skipped: readonly string[];
  }

  /** Nodes, and foreign keys before, between and after them, in pages of `pageSize` keys. */
  function pagedKv(ids: readonly string[], pageSize: number): PagedKv {
    const skipped = FOREIGN.map((name) => ROOT + name);
    const kvs: KeyValue[] = [
      ...skipped.map((key) => ({ key, value: '' })),
      ...ids.map((id) => ({ key: `${ROOT}presence/${id}`, value: encodePresence(presence) })),
      ...ids.map((id) => ({ key: `${ROOT}records/${id}`, value: encodeRecord(sampleRecord({ ec2InstanceId: id })) })),
    ]
      .map((entry) => ({ ...entry, lease: '0', modRevision: '1' }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    const queries: RangeQuery[] = [];
    const keysRead: string[] = [];
    const range: Kv['range'] = async (query) => {
      queries.push(query);
      const { prefix, from = prefix, to = '\uffff', limit = pageSize } = query;
      const size = Math.min(limit, pageSize);
      const first = kvs.findIndex(({ key }) => key.startsWith(prefix) && key >= from);
      const rest =
        first < 0 ? [] : kvs.slice(first, first + size + 1).filter(({ key }) => key.startsWith(prefix) && key < to);
      if (query.revision !== undefined) keysRead.push(...rest.slice(0, size).map(({ key }) => key));
      return { revision: query.revision ?? '7', kvs: rest.slice(0, size), next: rest[size]?.key ?? null };
    };
    return { kv: { range } as Kv, queries, keysRead, skipped };
  }

  const hex = (n: number, digits: number) => (n % 16 ** digits).toString(16).padStart(digits, '0');
  const spread = (count: number, name: (n: number) => string) =>
    Array.from({ length: count }, (_, n) => name(n * 104_729)).sort();
  /** As EC2 gave them since 2016, before, and as ECS Anywhere does; and one at each place where the roll is cut. */
  const IDS: readonly (readonly string[])[] = [
    spread(300, (n) => `i-0${hex(n * 65_537, 8)}${hex(n * 31, 8)}`),
    spread(300, (n) => `i-${hex(n * 40_503, 8)}`),
    spread(300, (n) => `mi-0${hex(n * 65_537, 8)}${hex(n, 8)}`),
    ['i-00000000', 'i-04000000', 'i-08000000', 'i-0c000000', 'i-10000000', 'i-80000000', 'i-ffffffff', 'mi-00000000'],
  ];

  it('reads every key of a large roll exactly once, whatever its ids are and wherever the pages end', async () => {
    for (const ids of [...IDS, [...new Set(IDS.flat())].sort()]) {
      for (const pageSize of [1, 2, 3, 7, 100, 499]) {
        const { kv, queries, keysRead, skipped } = pagedKv(ids, pageSize);
        const roll = await readRoll(kv, WHOLE, 'thrifty', signal);
        const what = `${ids[0]} and ${ids.length - 1} more in pages of ${pageSize}`;
        // As one text: where it differs, comparing it as a list takes minutes.
        assert.equal(roll.entries.map(({ record }) => record.ec2InstanceId).join(' '), ids.join(' '), what);
        assert.ok(
          roll.entries.every((entry) => entry.presence !== null),
          what,
        );
        assert.deepEqual(roll.skipped.map(({ key }) => key).sort(), skipped, what);
        assert.equal(roll.revision, '7');
        const wasLarge = queries.length > 1;
        assert.equal(wasLarge, 2 * ids.length + skipped.length > Math.min(pageSize, queries[0]?.limit ?? 0), what);
        assert.equal(keysRead.length, wasLarge ? 2 * ids.length + skipped.length : 0, what);
        assert.equal(new Set(keysRead).size, keysRead.length, `${what}: a key was read twice`);
        assert.ok(
          queries.slice(1).every(({ revision }) => revision === '7'),
          what,
        );
      }
    }
  });

  it('in a hurry, reads four pieces at the same time', async () => {
    const { kv, keysRead } = pagedKv([...new Set(IDS.flat())].sort(), 100);
    let underWay = 0;
    let most = 0;
    const range: Kv['range'] = async (query, pageSignal) => {
      underWay += 1;
      most = Math.max(most, underWay);
      await new Promise(setImmediate);
      underWay -= 1;
      return kv.range(query, pageSignal);
    };
    const roll = await readRoll({ range } as Kv, SUMMARY, 'hurry', signal);
    assert.equal(roll.entries.length, (keysRead.length - FOREIGN.length) / 2);
    assert.equal(most, 4);
  });

  it('reads a small roll in one page', async () => {
    const { kv, queries } = pagedKv(IDS[0]?.slice(0, 40) ?? [], 5_000);
    assert.equal((await readRoll(kv, WHOLE, 'thrifty', signal)).entries.length, 40);
    assert.equal(queries.length, 1);
    assert.ok(queries[0]?.limit, 'a store may read pages without a limit in a way that is dear for a small roll');
  });

  /** Every page but the first waits for its signal, or fails at once as `fails` says of the n-th in an attempt. */
  function stuckKv(fails: (piece: number) => Error | null): { kv: Kv; asked: () => number } {
    let asked = 0;
    let pieces = 0;
    const range: Kv['range'] = async ({ revision }, pageSignal) => {
      if (revision === undefined) {
        pieces = 0;
        return { revision: '7', kvs: [], next: 'x' };
      }
      asked += 1;
      pieces += 1;
      const error = fails(pieces);
      if (error) throw error;
      return new Promise((_, reject) =>
        // Stopping takes a moment, as it does on a wire.
        pageSignal.addEventListener('abort', () => setImmediate(() => reject(pageSignal.reason)), { once: true }),
      );
    };
    return { kv: { range } as Kv, asked: () => asked };
  }

  it('a page that fails aborts the other pages, and its error is thrown', async () => {
    const failure = new StoreError('connection reset', { retryable: true });
    const { kv, asked } = stuckKv((piece) => (piece === 3 ? failure : null));
    await assert.rejects(readRoll(kv, WHOLE, 'hurry', signal), failure);
    assert.equal(asked(), 4, 'no piece is begun after the failure');
  });

  it('starts over only when all pages of the compacted attempt have ended', async () => {
    let underWay = 0;
    let atRestart: number[] = [];
    const { kv } = stuckKv((piece) => (piece === 2 ? new CompactedError('compacted') : null));
    const range: Kv['range'] = async (query, pageSignal) => {
      if (query.revision === undefined) atRestart = [...atRestart, underWay];
      underWay += 1;
      try {
        return await kv.range(query, pageSignal);
      } finally {
        underWay -= 1;
      }
    };
    await assert.rejects(readRoll({ range } as Kv, WHOLE, 'hurry', signal), /compacted during each of 3 attempts/);
    assert.deepEqual(atRestart, [0, 0, 0]);
  });

  it('rejects with the reason of its signal while pages are being read', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const { kv } = stuckKv((piece) => {
      if (piece === 4) setImmediate(() => controller.abort(reason));
      return null;
    });
    await assert.rejects(readRoll(kv, WHOLE, 'hurry', controller.signal), reason);
  });
});
