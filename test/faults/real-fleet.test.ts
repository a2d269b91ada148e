import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runRealFleet } from './real-fleet.ts';

/** Shorter than `scripts/simulate-fleet --real`, which sets them. */
const SECONDS = Number(process.env['ROLLCALL_REAL_SECONDS'] ?? 45);
const AGENTS = Number(process.env['ROLLCALL_REAL_AGENTS'] ?? 10);
const SEED = Number(process.env['ROLLCALL_TEST_SEED'] ?? Math.floor(Math.random() * 1e9));

test('agents, three etcds and all kinds of faults: what is read is what is there', {
  timeout: (SECONDS + 600) * 1_000,
}, async (t) => {
  process.stdout.write(`to run this again: ROLLCALL_TEST_SEED=${SEED}\n`);
  const note = (line: string) => process.stdout.write(`${new Date().toISOString()} ${line}\n`);
  const { violations, samples, faults } = await runRealFleet(t, { agents: AGENTS, seconds: SECONDS, seed: SEED, note });
  t.diagnostic(`${samples} samples of each view, faults: ${JSON.stringify(faults)}`);
  assert.deepEqual(violations, []);
  assert.ok(samples > 10, `${samples} samples`);
  assert.ok(Object.keys(faults).length > 0, 'no fault happened');
});
