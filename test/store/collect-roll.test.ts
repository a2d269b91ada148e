import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodePresence, encodeRecord } from '../../src/record/codec.ts';
import { presenceKey, recordKey } from '../../src/store/keys.ts';
import type { RangeEntry } from '../../src/store/kv.ts';
import { collectRoll } from '../../src/store/read-roll.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

type Stored = 'readable' | 'unreadable' | 'none';

const presence = { session: 'session-a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
const entry = (key: string, value: string): RangeEntry => ({ key, value, modRevision: '1' });
const stored = fc.constantFrom<Stored>('readable', 'unreadable', 'none');

test('joins what belongs together, in the order of the ids, and names the rest, however the pages came', () => {
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
        const shuffled = kvs
          .map((kv) => ({ kv, at: order.next().value }))
          .sort((a, b) => a.at - b.at)
          .map(({ kv }) => kv);
        const roll = collectRoll();
        roll.add(shuffled.slice(0, 5));
        roll.add(shuffled.slice(5));
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
