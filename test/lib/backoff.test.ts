import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Backoff } from '../../src/lib/backoff.ts';

test('the ceiling doubles from the base up to the maximum, and a success goes back to the base', () => {
  let backoff = new Backoff(100, 1_000);
  const ceilings: number[] = [];
  for (let failure = 0; failure < 6; failure += 1) {
    ceilings.push(backoff.delayMs(1));
    backoff = backoff.next();
  }
  assert.deepEqual(ceilings, [100, 200, 400, 800, 1_000, 1_000]);
  assert.equal(backoff.reset().delayMs(1), 100);
});

test('full jitter: a delay is anything from zero to the ceiling, also after very many failures', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 10_000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (failures, random) => {
        const delayMs = new Backoff(250, 5_000, failures).delayMs(random);
        assert.ok(delayMs >= 0 && delayMs < 5_000);
      },
    ),
  );
});
