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
  const [written, gone] = history.at('7');
  assert.equal(written?.key, '/r/a');
  assert.equal(written?.isMet([{ value: 'of a', modRevision: '4' }]), true);
  assert.equal(written?.isMet([{ value: 'of a', modRevision: '3' }]), false);
  assert.equal(written?.isMet([]), false);
  assert.equal(gone?.key, '/r/b');
  assert.equal(gone?.isMet([]), true);
  assert.equal(gone?.isMet([{ value: 'of b', modRevision: '5' }]), false);
});

test('the changes before the last have to be the same, too, each at its own revision', () => {
  const history = createHistoryCheck('/r/');
  history.sawKeys('5', [{ key: 'a', value: 'of a', modRevision: '3' }]);
  history.sawEvents('6', [deletion('b')]);
  for (const _ of ['one watch', 'another one']) history.sawEvents('7', [put('b')]);
  const [last, same, before, ...more] = history.at('7');
  assert.deepEqual(more, []);
  for (const each of [last, same]) {
    assert.deepEqual([each?.key, each?.revision], ['/r/b', '7']);
    assert.equal(each?.isMet([{ value: 'of b', modRevision: '7' }]), true);
  }
  // In another history an agent may have written the same at 7, and something else was written at 6.
  assert.deepEqual([before?.key, before?.revision], ['/r/b', '6']);
  assert.equal(before?.isMet([{ value: 'of b', modRevision: '2' }]), false);
  assert.equal(before?.isMet([]), true);
  for (let n = 8; n < 20; n += 1) history.sawEvents(String(n), [put(`key ${n}`)]);
  assert.equal(history.at('19').length, 5);
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
