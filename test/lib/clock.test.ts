import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';

describe('system clock', () => {
  test('a sleep that is over or was aborted leaves no listener on its signal', async () => {
    const parent = new AbortController();
    await systemClock.sleep(1, parent.signal);
    assert.equal(getEventListeners(parent.signal, 'abort').length, 0);
    const long = assert.rejects(systemClock.sleep(60_000, parent.signal), /over/);
    parent.abort(new Error('over'));
    await long;
    assert.equal(getEventListeners(parent.signal, 'abort').length, 0);
  });
});
