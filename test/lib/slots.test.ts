import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createSlots } from '../../src/lib/slots.ts';

describe('slots', () => {
  const NEVER = new AbortController().signal;

  test('at most the given number work at the same time, and all get a slot in order', async () => {
    const slots = createSlots(2);
    const order: number[] = [];
    let working = 0;
    let most = 0;
    const work = (n: number) => async () => {
      order.push(n);
      working += 1;
      most = Math.max(most, working);
      await new Promise((resolve) => setImmediate(resolve));
      working -= 1;
      if (n === 1) throw new Error('failed');
      return n;
    };
    const all = await Promise.allSettled([0, 1, 2, 3, 4].map((n) => slots(NEVER, work(n))));
    assert.deepEqual([order, most], [[0, 1, 2, 3, 4], 2]);
    assert.deepEqual(
      all.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled', 'fulfilled', 'fulfilled'],
    );
  });

  test('a waiter that aborts gives its turn to the next', async () => {
    const slots = createSlots(1);
    const busy = Promise.withResolvers<void>();
    const gone = new AbortController();
    const first = slots(NEVER, () => busy.promise);
    const leaving = assert.rejects(
      slots(gone.signal, () => assert.fail('it had left')),
      /left/,
    );
    const last = slots(NEVER, async () => 'done');
    gone.abort(new Error('left'));
    await leaving;
    busy.resolve();
    await first;
    assert.equal(await last, 'done');
  });

  test('a waiter that aborts just after it got the slot passes it on', async () => {
    const slots = createSlots(1);
    const busy = Promise.withResolvers<void>();
    const gone = new AbortController();
    const first = slots(NEVER, () => busy.promise);
    const leaving = slots(gone.signal, async () => 'in time').catch((error) => error.message);
    const last = slots(NEVER, async () => 'done');
    busy.resolve();
    queueMicrotask(() => gone.abort(new Error('left')));
    await first;
    assert.equal(await leaving, 'left');
    assert.equal(await last, 'done');
  });
});
