import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHistoryCheck } from '../../../src/store/etcd/freshness.ts';

const read = (value: string) => [{ value, modRevision: '4' }];

test('after a refusal, keys read at the same revision take the place of what was remembered there', () => {
  const history = createHistoryCheck('/r/');
  history.sawEvents('4', [{ key: 'a', value: 'old', previous: null }]);
  history.refute();
  // Another watch that goes on from there has to hear of it as well.
  assert.equal(history.at('4')?.isMet(read('new')), false);

  history.sawKeys('4', [{ key: 'a', value: 'new', modRevision: '4' }]);
  assert.equal(history.at('4')?.isMet(read('new')), true);
  assert.equal(history.at('4')?.isMet(read('old')), false);
});
