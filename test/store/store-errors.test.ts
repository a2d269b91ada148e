import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTwice, StoreError } from '../../src/store/store-errors.ts';

const passing = new StoreError('etcdserver: leader changed', { retryable: true });
const final = new StoreError('permission denied', { retryable: false });

/** A read that fails so first, and then answers. */
function readAfter(...failures: readonly unknown[]) {
  const left = [...failures];
  const read = async () => {
    counted.reads += 1;
    if (left.length > 0) throw left.shift();
    return 'the roll';
  };
  const counted = { reads: 0, read };
  return counted;
}

const never = new AbortController().signal;

test('a read that fails for a reason that may pass is done once more', async () => {
  const once = readAfter(passing);
  assert.equal(await readTwice(once.read, never), 'the roll');
  assert.equal(once.reads, 2);
  const twice = readAfter(passing, passing);
  await assert.rejects(readTwice(twice.read, never), passing);
  assert.equal(twice.reads, 2);
});

test('a read is not done again where that cannot help, or where its caller gave up', async () => {
  for (const failure of [final, new TypeError('a defect')]) {
    const failing = readAfter(failure);
    await assert.rejects(readTwice(failing.read, never), failure);
    assert.equal(failing.reads, 1);
  }
  const enough = new Error('enough');
  const given = readAfter(passing);
  await assert.rejects(readTwice(given.read, AbortSignal.abort(enough)), enough);
  assert.equal(given.reads, 1);
});
