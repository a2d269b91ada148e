import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEtcd } from '../support/etcd-server.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { overstay, wrongLeases } from './lease-check.ts';
import { openSampleWriter } from './sample-writer.ts';

const TTL_MS = 2_000;
const NEVER = new AbortController().signal;

/** What the check of the real fleet has to find: an agent with another TTL, and a store that keeps leases for too long. */
test('a lease with another TTL, or one that is kept for too long, is found', { timeout: 120_000 }, async (t) => {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const { register, store } = await openSampleWriter(t, etcd.endpoints);
  const [right, double, none] = [sampleInstanceId(1), sampleInstanceId(2), sampleInstanceId(3)];
  const { hold: first } = await register(1, {}, TTL_MS);
  const { hold: second } = await register(2, {}, 2 * TTL_MS);
  const renew = (holds: readonly (typeof first)[]) => {
    const timer = setInterval(() => holds.map((hold) => store.renew(hold, NEVER).catch(() => {})), TTL_MS / 8);
    t.after(() => clearInterval(timer));
    return () => clearInterval(timer);
  };
  const stop = renew([first, second]);
  const wrong = await wrongLeases(etcd, [right, double, none], TTL_MS);
  assert.deepEqual(wrong.toSorted(), [
    `${none} has no presence on a lease`,
    `the lease of ${double} is granted for ${2 * TTL_MS} ms, not ${TTL_MS} ms`,
  ]);
  stop();
  assert.deepEqual(await overstay(etcd, right, TTL_MS, async () => {}), []);

  const { hold } = await register(4, {}, TTL_MS);
  renew([hold]);
  const [kept = ''] = await overstay(etcd, sampleInstanceId(4), TTL_MS, async () => {});
  assert.match(kept, /stays present although its agent is dead/);
});
