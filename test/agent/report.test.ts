import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { Desired } from '../../src/agent/publisher/publisher-plan.ts';
import { runPublisher } from '../../src/agent/publisher/publisher-run.ts';
import { createStoreCheck } from '../../src/agent/report.ts';
import { createCell } from '../../src/lib/cell.ts';
import { encodeRecord } from '../../src/record/codec.ts';
import { openStore } from '../../src/store/open-store.ts';
import { type FlakyStore, flakyStore } from '../support/flaky-store.ts';
import { sampleRecord } from '../support/sample-record.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const TTL_MS = 30_000;

/** A publisher on a network that can be cut, and the check on it. */
async function publishing(t: TestContext, first: FlakyStore['network'] = 'up') {
  const clock = simulatedClock();
  const stop = new AbortController();
  const config = { kind: 'memory', label: 'memory:', name: randomUUID() } as const;
  const store = await openStore(config, { clock, random: seededRandom(1), create: true, signal: stop.signal });
  t.after(() => {
    stop.abort();
    return store.close();
  });
  const network = flakyStore(store);
  network.network = first;
  const record = sampleRecord({ sidecar: { version: '1', session: 's' } });
  const desired = createCell<Desired | null>({ record, json: encodeRecord(record) });
  const leaving = createCell(false);
  const check = createStoreCheck(clock, { rise: 2, fall: 3 });
  const options = { store: network, clock, random: () => 0.5, session: 's', ttlMs: TTL_MS, retentionMs: 86_400_000 };
  let phase = '';
  const onStep: typeof check.onStep = (step, state) => {
    phase = state.phase;
    check.onStep(step, state);
  };
  runPublisher({ ...options, desired, leaving, onStep }, stop.signal).catch(() => {});
  const verdict = () => check.watched()?.check.status;
  return { clock, network, check, verdict, phase: () => phase };
}

test('passes while calls succeed, warns while they fail and the lease lives, is critical once it is gone, and recovers', async (t) => {
  const { clock, network, check, verdict } = await publishing(t);
  assert.equal(check.watched(), null);
  await clock.advance(0);
  assert.equal(verdict(), 'passing');
  network.network = 'refuse';
  await clock.advance(TTL_MS * 0.9);
  assert.equal(verdict(), 'warning');
  assert.equal(check.watched()?.check.reason, 'connection refused');
  await clock.advance(TTL_MS);
  assert.equal(verdict(), 'critical');
  assert.match(check.watched()?.check.reason ?? '', /lease is lost: connection refused/);
  network.network = 'up';
  await clock.advance(TTL_MS);
  assert.equal(verdict(), 'passing');
});

test('a call that fails once is no change of the verdict, but counted', async (t) => {
  const { clock, network, check, verdict } = await publishing(t);
  await clock.advance(TTL_MS);
  const before = check.watched()?.runs;
  network.refused = ['renew'];
  while (check.watched()?.runs.failures === 0) await clock.advance(100);
  network.refused = [];
  await clock.advance(TTL_MS);
  assert.equal(verdict(), 'passing');
  assert.equal(check.watched()?.runs.failures, 1);
  assert.ok((check.watched()?.runs.runs ?? 0) > (before?.runs ?? 0) + 1);
});

test('is critical from the first answer on while the node cannot register', async (t) => {
  const { clock, verdict, check } = await publishing(t, 'refuse');
  await clock.advance(10_000);
  assert.equal(verdict(), 'critical');
  assert.equal(check.watched()?.check.reason, 'not registered: connection refused');
});

test('passes as soon as the node is registered, at any TTL: that it is on the roll is a fact, not a result', async (t) => {
  const { clock, network, verdict, phase } = await publishing(t, 'refuse');
  await clock.advance(TTL_MS);
  assert.equal(verdict(), 'critical');
  network.network = 'up';
  while (phase() !== 'held') await clock.advance(100);
  assert.equal(verdict(), 'passing');
});

test('warns while the watch of the roll is down, though calls succeed', async (t) => {
  const { clock, check, verdict } = await publishing(t);
  await clock.advance(TTL_MS);
  assert.equal(verdict(), 'passing');
  check.onWatch({ downMs: 20_000, error: new Error('no answer within 2500 ms') });
  await clock.advance(2 * TTL_MS);
  assert.equal(verdict(), 'warning');
  const reason = 'the watch of the roll has been down for 20s: no answer within 2500 ms';
  assert.equal(check.watched()?.check.reason, reason);
  check.onWatch(null);
  await clock.advance(2 * TTL_MS);
  assert.equal(verdict(), 'passing');
});
