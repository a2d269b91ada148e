import assert from 'node:assert/strict';
import { systemClock } from '../../src/lib/clock.ts';

/** Waits for a condition without sleeping for a fixed time; fails when it does not come true within twenty seconds. */
export async function waitUntil(what: string, condition: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + 20_000;
  while (!condition()) {
    assert.ok(systemClock.monotonicMs() < endMs, `waited twenty seconds for: ${what}`);
    await new Promise(setImmediate);
  }
}
