import assert from 'node:assert/strict';
import { systemClock } from '../../src/lib/clock.ts';

/** Polls until a condition is true. Fails after 20 seconds. */
export async function waitUntil(what: string, condition: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + 20_000;
  while (!condition()) {
    assert.ok(systemClock.monotonicMs() < endMs, `waited twenty seconds for: ${what}`);
    await new Promise(setImmediate);
  }
}
