import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { RpcError } from '../../../src/store/etcd/channel.ts';
import { JunkAnswerError } from '../../../src/store/etcd/etcd-errors.ts';
import { RANGE, WATCH, WatchResponse } from '../../../src/store/etcd/rpc.ts';
import { parseWatchAnswer, type RevisionEvent, regroup } from '../../../src/store/etcd/watch-stream.ts';
import type { KvBatch } from '../../../src/store/kv.ts';
import { startFakeGrpc } from '../../support/etcd-impostors.ts';
import { closeTestKvs, never, openTestKv } from '../../support/etcd-kv.ts';

describe('revision batches', () => {
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
});

describe('an answer of a watch', () => {
  const parse = (answer: Parameters<typeof WatchResponse.encode>[0]) =>
    parseWatchAnswer(WatchResponse.encode(answer), '/r/');
  const header = { revision: '9' };

  it('confirms the watch', () => {
    assert.deepEqual(parse({ header, created: true }), { kind: 'created' });
  });

  it('carries puts and deletes with what was there before', () => {
    const events = [
      {
        kv: { key: '/r/a', createRevision: '2', modRevision: '3', value: '2' },
        prevKv: { key: '/r/a', createRevision: '2', modRevision: '2', value: '1' },
      },
      { type: '1', kv: { key: '/r/b', modRevision: '4' }, prevKv: { key: '/r/b', value: '1' } },
      { kv: { key: '/r/b', createRevision: '5', modRevision: '5', value: '2' } },
    ];
    assert.deepEqual(parse({ header, events }), {
      kind: 'events',
      partial: false,
      lacksPrevious: false,
      events: [
        { revision: '3', event: { key: 'a', value: '2', previous: '1' } },
        { revision: '4', event: { key: 'b', value: null, previous: '1' } },
        { revision: '5', event: { key: 'b', value: '2', previous: null } },
      ],
    });
  });

  it('tells an empty value from none', () => {
    assert.deepEqual(
      parse({ header, fragment: true, events: [{ kv: { key: '/r/a', modRevision: '3' }, prevKv: {} }] }),
      {
        kind: 'events',
        partial: true,
        lacksPrevious: false,
        events: [{ revision: '3', event: { key: 'a', value: '', previous: '' } }],
      },
    );
  });

  it('says when what a change replaced is missing, though there was something', () => {
    const deleted = { type: '1', kv: { key: '/r/a', modRevision: '4' } };
    const replaced = { kv: { key: '/r/a', createRevision: '2', modRevision: '3' } };
    for (const event of [deleted, replaced]) {
      const answer = parse({ events: [event] });
      assert.equal(answer.kind === 'events' && answer.lacksPrevious, true);
    }
  });

  it('tells progress and compaction', () => {
    assert.deepEqual(parse({ header: { revision: '12' } }), { kind: 'progress', revision: '12' });
    assert.deepEqual(parse({ header, canceled: true, compactRevision: '6' }), {
      kind: 'compacted',
      compactRevision: '6',
    });
  });

  it('is a refusal when etcd ends the watch, though it says created as well', () => {
    const denied = { header, created: true, canceled: true, cancelReason: 'etcdserver: permission denied' };
    assert.throws(() => parse(denied), { name: 'RpcError', code: 16, message: /permission denied/ });
    assert.throws(() => parse({ header, canceled: true }), RpcError);
  });

  it('is junk with a key that was not asked for, or an event without a revision', () => {
    assert.throws(() => parse({ events: [{ kv: { key: '/x/a', modRevision: '3' } }] }), JunkAnswerError);
    assert.throws(() => parse({ events: [{ kv: { key: '/r/a' } }] }), JunkAnswerError);
    assert.throws(() => parse({}), JunkAnswerError);
  });
});

describe('a request for a watch', () => {
  after(closeTestKvs);

  // Without that etcd goes on in silence at a member that lost its leader.
  it('asks for a leader, of the whole prefix as of single keys', async () => {
    const asked: unknown[] = [];
    const fake = await startFakeGrpc((call) => {
      if (call.path === WATCH) {
        asked.push(call.headers['hasleader']);
        call.send(WatchResponse.encode({ header: { revision: '5' }, created: true }));
        call.end(14, 'etcdserver: no leader');
        return;
      }
      call.send(RANGE.response.encode({ header: { revision: '5' } }));
      call.end(0);
    });
    const kv = openTestKv([fake.url]);
    for (const watch of [kv.watch('5', never), kv.watchKeys(['a'], '5', never)]) {
      const read = async () => {
        for await (const _ of watch);
      };
      await assert.rejects(read, { name: 'StoreError', retryable: true });
    }
    assert.deepEqual(asked, ['true', 'true']);
    await fake.close();
  });
});
