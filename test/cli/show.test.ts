import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderInstance } from '../../src/cli/show.ts';
import { runInProcess } from '../support/run-in-process.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { openTestRoll } from '../support/test-roll.ts';

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

/** What show says of nodes that it does not find; the roll at `url` has 102 records that it cannot read. */
async function absentOf(url: string, ...names: readonly string[]): Promise<string> {
  const { code, stderr } = await runInProcess(['show', ...names, '--store', url, '--log-level', 'error']);
  assert.equal(code, 1);
  assert.match(stderr, /^rollcall show: [^\n]+\n$/);
  return stderr.slice('rollcall show: '.length, -1).replaceAll(url, 'URL');
}

test('of nodes that are not found show says what is known of each, first what is sure', async (t) => {
  const { url, register } = await openTestRoll(t);
  for (let n = 1; n <= 102; n += 1) await register(n, { schemaVersion: 99 as never });
  const whole = 'i-0abc1234def567890';
  // The store has no key of it, whatever else cannot be read there.
  assert.equal(await absentOf(url, whole), `${whole} is not on the roll at URL; rollcall list --all prints all nodes`);
  // It may be the start of another id.
  const among = 'may be among those that cannot be read: 2 more keys that cannot be read';
  assert.equal(await absentOf(url, 'i-0abc1234'), `the record of i-0abc1234 ${among}`);
  const newer = (n: number) => `the record of ${sampleInstanceId(n)} cannot be read: schemaVersion 99 is newer than 1`;
  const several = await absentOf(url, '10.0.0.9', sampleInstanceId(2), 'i-0abc1234', sampleInstanceId(1), '10.0.0.9');
  assert.ok(several.startsWith(newer(2)), several);
  assert.ok(several.includes(`; ${newer(1)}`), several);
  assert.ok(several.endsWith(`; the record of 10.0.0.9 or i-0abc1234 ${among}`), several);
  const many = await absentOf(url, '10.0.0.9', ...[1, 2, 3, 4, 5, 6].map(sampleInstanceId));
  assert.ok(many.startsWith(newer(1)) && many.includes('; 3 more cannot be read; '), many);
  assert.ok(many.endsWith(`; the record of 10.0.0.9 ${among}`), many);
});

test('show says of one node that it cannot be read and of another that it is not on the roll', async (t) => {
  const { url, register } = await openTestRoll(t);
  await register(1, { schemaVersion: 99 as never });
  assert.match(
    await absentOf(url, '10.0.0.9', sampleInstanceId(1), '10.0.0.8'),
    /^the record of i-00000001 cannot be read: .*; 10\.0\.0\.9, 10\.0\.0\.8 are not on the roll at URL; rollcall list --all/,
  );
});
