import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHistoryCheck } from '../../../src/store/etcd/freshness.ts';

const read = (value: string) => [{ value, modRevision: '4' }];

test('after a refusal, keys read at the same revision take the place of what was remembered there', () => {
  const history = createHistoryCheck('/r/');
  history.sawEvents('4', [{ key: 'a', value: 'old', previous: null }]);
  history.refute();
  // Another watch that goes on from there has to hear of it as well.
  assert.equal(history.at('4')[0]?.isMet(read('new')), false);

  history.sawKeys('4', [{ key: 'a', value: 'new', modRevision: '4' }]);
  assert.equal(history.at('4')[0]?.isMet(read('new')), true);
  assert.equal(history.at('4')[0]?.isMet(read('old')), false);
});

const put = (key: string) => ({ key, value: `of ${key}`, previous: null });
const deletion = (key: string) => ({ key, value: null, previous: `of ${key}` });

test('after deletions, what was written before them and is still there has to be there, too', () => {
  const history = createHistoryCheck('/r/');
  history.sawEvents('4', [put('a')]);
  history.sawEvents('5', [put('b'), put('c')]);
  history.sawEvents('6', [deletion('c')]);
  history.sawEvents('7', [deletion('b')]);
  const [written, gone, ...more] = history.at('7');
  assert.deepEqual(more, []);
  assert.equal(written?.key, '/r/a');
  assert.equal(written?.isMet([{ value: 'of a', modRevision: '4' }]), true);
  assert.equal(written?.isMet([{ value: 'of a', modRevision: '3' }]), false);
  assert.equal(written?.isMet([]), false);
  assert.equal(gone?.key, '/r/b');
  assert.equal(gone?.isMet([]), true);
  assert.equal(gone?.isMet([{ value: 'of b', modRevision: '5' }]), false);
});

test('what was seen at a later revision is not expected at an earlier one', () => {
  const history = createHistoryCheck('/r/');
  history.sawKeys('9', [{ key: 'a', value: 'of a', modRevision: '8' }]);
  history.sawEvents('7', [deletion('b')]);
  assert.deepEqual(
    history.at('7').map(({ key }) => key),
    ['/r/b'],
  );
  assert.deepEqual(history.at('9'), []);
});
