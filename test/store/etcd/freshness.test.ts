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
  const [last, before, read, ...more] = history.at('7');
  assert.deepEqual(more, []);
  assert.deepEqual([last?.key, last?.revision], ['/r/b', '7']);
  assert.equal(last?.isMet([{ value: 'of b', modRevision: '7' }]), true);
  // What was read is asked for where it was read: at 3 it may be compacted, and since 5 it may have changed.
  assert.deepEqual([read?.key, read?.revision], ['/r/a', '5']);
  assert.equal(read?.isMet([{ value: 'of a', modRevision: '3' }]), true);
  // In another history an agent may have written the same at 7, and something else was written at 6.
  assert.deepEqual([before?.key, before?.revision], ['/r/b', '6']);
  assert.equal(before?.isMet([{ value: 'of b', modRevision: '2' }]), false);
  assert.equal(before?.isMet([]), true);
  for (let n = 8; n < 20; n += 1) history.sawEvents(String(n), [put(`key ${n}`)]);
  assert.deepEqual(
    history.at('19').map(({ key }) => key),
    ['/r/key 19', '/r/key 18', '/r/key 17', '/r/key 16'],
  );
});

test('of a roll that was read, what was written before the last has to be there, too', () => {
  const written = (revision: number) => ({ key: `key ${revision}`, value: 'a value', modRevision: String(revision) });
  const history = createHistoryCheck('/r/');
  history.sawKeys('30', [written(9), written(20), { ...written(20), key: 'key beside 20' }, written(7)]);
  history.sawKeys('30', [written(8), written(21), { ...written(22), key: 'no text \ufffd' }, written(10)]);
  const expected = history.at('30');
  assert.deepEqual(
    expected.map(({ key, revision }) => [key, revision]),
    [21, 20, 10, 9].map((revision) => [`/r/key ${revision}`, '30']),
  );
  // In another history an agent may have written the same at 21, and something else was written at 20.
  assert.equal(expected[0]?.isMet([written(21)]), true);
  assert.equal(expected[1]?.isMet([written(19)]), false);
  history.sawEvents('31', [put('later')]);
  assert.deepEqual(
    history.at('31').map(({ key, revision }) => [key, revision]),
    [['/r/later', '31'], ...[21, 20, 10].map((revision) => [`/r/key ${revision}`, '30'])],
  );
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
