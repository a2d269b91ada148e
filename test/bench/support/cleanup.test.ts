import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCleanup } from '../../../bench/support/cleanup.ts';

test('everything is taken back, newest first, and a failure does not spare the rest', async () => {
  const done: string[] = [];
  const cleanup = createCleanup();
  cleanup.defer(async () => done.push('first'));
  cleanup.defer(async () => {
    throw new Error('will not end');
  });
  cleanup.defer(async () => done.push('last'));
  await assert.rejects(cleanup.run(), /will not end/);
  assert.deepEqual(done, ['last', 'first']);
});

test('what is started while the end is under way is taken back at once', async () => {
  const done: string[] = [];
  const cleanup = createCleanup();
  await cleanup.run();
  cleanup.defer(async () => done.push('late'));
  assert.deepEqual(done, ['late']);
});
