import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderInstance } from '../../src/cli/show.ts';
import { sampleRecord } from '../support/sample-record.ts';

const NOW_MS = Date.parse('2026-01-01T12:00:00Z');

function shown(clockSkewSeconds: number | null): string {
  const registeredAt = '2026-01-01T11:50:00.000Z';
  const presence = { session: 's', since: registeredAt, ttlSeconds: 30 };
  return renderInstance({ record: sampleRecord({ registeredAt, clockSkewSeconds }), presence }, NOW_MS);
}

test('an age is from the node’s instant on the shared clock to now, or says by which clock it is', () => {
  assert.match(shown(0), /^Registered +2026-01-01T11:50:00\.000Z \(10m ago\)$/m);
  assert.match(shown(300), /^Registered +2026-01-01T11:50:00\.000Z \(15m ago\)$/m);
  assert.match(shown(-300), /^State +present since 2026-01-01T11:50:00\.000Z \(5m\)$/m);
  assert.match(shown(null), /^Registered +\S+ \(10m ago by i-00000000's clock\)$/m);
  // A clock that is further behind than is known: nothing is from the future.
  assert.match(shown(-3_600), /^Registered +\S+ \(0(?:ms|s) ago\)$/m);
});

test('a clock that is off has a row of its own', () => {
  assert.match(
    shown(-300),
    /^Clock +the clock of i-00000000 is 5 min behind EC2's; the instants above are by its own/m,
  );
  for (const skew of [0, null]) assert.doesNotMatch(shown(skew), /^Clock/m);
});
