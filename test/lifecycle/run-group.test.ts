import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runGroup } from '../../src/lib/run-group.ts';

const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));

test('the first task to end ends the others, and the group waits for them', async () => {
  const ended: string[] = [];
  const slow = (signal: AbortSignal) => untilAborted(signal).finally(() => ended.push('slow'));
  assert.equal(await runGroup<number>([slow, async () => 7], new AbortController().signal), 7);
  assert.deepEqual(ended, ['slow']);
});

test('the first cause wins over what it causes', async () => {
  const fails = async () => {
    throw new Error('first');
  };
  const consequence = (signal: AbortSignal) => untilAborted(signal).catch(() => Promise.reject(new Error('second')));
  await assert.rejects(runGroup([consequence, fails], new AbortController().signal), /first/);
});

test('the caller’s signal ends all with its reason', async () => {
  const stop = new AbortController();
  const group = runGroup([untilAborted, untilAborted], stop.signal);
  stop.abort(new Error('stop'));
  await assert.rejects(group, /stop/);
});
