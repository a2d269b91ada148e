import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { GatewayRefusal, JunkAnswerError } from '../../../src/store/etcd/errors.ts';
import { parseWatchAnswer, type RevisionEvent, regroup } from '../../../src/store/etcd/watch-stream.ts';
import type { KvBatch } from '../../../src/store/kv.ts';

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

describe('watch answer', () => {
  const parse = (line: string) => parseWatchAnswer(line, '/r/');
  const base64 = (text: string) => Buffer.from(text).toString('base64');

  describe('a line of a watch', () => {
    it('confirms the watch', () => {
      assert.deepEqual(parse('{"result":{"header":{"revision":"9"},"created":true}}'), { kind: 'created' });
    });

    it('carries puts and deletes with what was there before', () => {
      const [a, b, one, two] = [base64('/r/a'), base64('/r/b'), base64('1'), base64('2')];
      const line =
        `{"result":{"header":{"revision":"9"},"events":[` +
        `{"kv":{"key":"${a}","create_revision":"2","mod_revision":"3","version":"2","value":"${two}"},` +
        `"prev_kv":{"key":"${a}","create_revision":"2","mod_revision":"2","version":"1","value":"${one}"}},` +
        `{"type":"DELETE","kv":{"key":"${b}","mod_revision":"4"},"prev_kv":{"key":"${b}","value":"${one}"}},` +
        `{"kv":{"key":"${b}","create_revision":"5","mod_revision":"5","version":"1","value":"${two}"}}]}}`;
      assert.deepEqual(parse(line), {
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
      const line = `{"result":{"header":{"revision":"9"},"fragment":true,"events":[{"kv":{"key":"${base64('/r/a')}","mod_revision":"3"},"prev_kv":{}}]}}`;
      assert.deepEqual(parse(line), {
        kind: 'events',
        partial: true,
        lacksPrevious: false,
        events: [{ revision: '3', event: { key: 'a', value: '', previous: '' } }],
      });
    });

    it('says when what a change replaced is missing, though there was something', () => {
      const key = base64('/r/a');
      const deleted = `{"type":"DELETE","kv":{"key":"${key}","mod_revision":"4"}}`;
      const replaced = `{"kv":{"key":"${key}","create_revision":"2","mod_revision":"3","version":"2"}}`;
      for (const event of [deleted, replaced]) {
        const answer = parse(`{"result":{"events":[${event}]}}`);
        assert.equal(answer.kind === 'events' && answer.lacksPrevious, true, event);
      }
    });

    it('tells progress and compaction', () => {
      assert.deepEqual(parse('{"result":{"header":{"revision":"12"}}}'), { kind: 'progress', revision: '12' });
      assert.deepEqual(parse('{"result":{"header":{},"canceled":true,"compact_revision":"6"}}'), {
        kind: 'compacted',
        compactRevision: '6',
      });
    });

    it('is a refusal when etcd ends the watch, though it says created as well', () => {
      const denied =
        '{"result":{"header":{},"created":true,"canceled":true,"cancel_reason":"etcdserver: permission denied"}}';
      assert.throws(() => parse(denied), { name: 'GatewayRefusal', code: 16, message: /permission denied/ });
      assert.throws(() => parse('{"result":{"header":{},"canceled":true}}'), GatewayRefusal);
    });

    it('is junk with a key that was not asked for, or an event without a revision', () => {
      const foreign = `{"result":{"events":[{"kv":{"key":"${base64('/x/a')}","mod_revision":"3"}}]}}`;
      assert.throws(() => parse(foreign), JunkAnswerError);
      assert.throws(() => parse(`{"result":{"events":[{"kv":{"key":"${base64('/r/a')}"}}]}}`), JunkAnswerError);
      assert.throws(() => parse('{"result":{"events":[{"kv":"a"}]}}'), JunkAnswerError);
    });
  });
});
