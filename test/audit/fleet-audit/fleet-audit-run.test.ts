import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { AuditorState } from '../../../src/audit/fleet-audit/fleet-audit-plan.ts';
import { runAuditor } from '../../../src/audit/fleet-audit/fleet-audit-run.ts';
import { createCell } from '../../../src/lib/cell.ts';
import { openStore } from '../../../src/store/open-store.ts';
import { fakeAudit } from '../../support/fake-audit.ts';
import { flakyStore } from '../../support/flaky-store.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const TTL_MS = 30_000;
const INTERVAL_MS = 60_000;
const never = new AbortController().signal;

async function fleet(t: TestContext) {
  const clock = simulatedClock();
  const config = { kind: 'memory', label: 'memory:', name: randomUUID() } as const;
  const store = await openStore(config, { clock, random: seededRandom(1), create: true, signal: never });
  t.after(() => store.close());
  return {
    clock,
    holder: async () => (await store.leaderLocks.read('audit', [], never)).holder?.session ?? null,
    start(session: string, durationMs: number) {
      const network = flakyStore(store);
      const audit = fakeAudit(clock, durationMs);
      const leaving = createCell(false);
      const stop = new AbortController();
      t.after(() => stop.abort(new Error('the test ended')));
      const agent = { network, audit, leaving, stop, state: null as AuditorState | null };
      const ended = runAuditor(
        {
          ...{ locks: network.leaderLocks, audit, clock, random: () => 0.5, session, leaving },
          ...{ instanceId: () => `i-${session}`, ttlMs: TTL_MS, intervalMs: INTERVAL_MS },
          onStep(_, state) {
            agent.state = state;
          },
        },
        stop.signal,
      );
      ended.catch(() => {}); // aborted by the test's end
      return Object.assign(agent, { ended });
    },
  };
}

test('a leader renews while an audit hangs, gives the audit up after 15 min, and publishes that it failed', async (t) => {
  const { clock, holder, start } = await fleet(t);
  const agent = start('a', 3_600_000);
  await clock.advance(TTL_MS + 1_000);
  assert.deepEqual([await holder(), agent.audit.running], ['a', 1]);
  await clock.advance(898_000);
  assert.deepEqual([await holder(), agent.audit.running, agent.audit.runs], ['a', 1, 1]);
  assert.equal(agent.state?.counts.elections, 1, 'the lease was never lost');
  await clock.advance(1_000);
  assert.equal(agent.state?.counts.failures.late, 1);
  assert.match(agent.state?.copy?.summary?.lastRun.error ?? '', /^audit: no answer within 900000 ms$/);
});

test('a leader that leaves frees the lock at once, also while its agent ends, and aborts its audit', async (t) => {
  const { clock, holder, start } = await fleet(t);
  const agent = start('a', 3_600_000);
  await clock.advance(TTL_MS + 1_000);
  assert.equal(agent.audit.running, 1);
  const answer = Promise.withResolvers<void>();
  const { resign } = agent.network.leaderLocks;
  agent.network.leaderLocks.resign = async (...args) => {
    await answer.promise;
    return resign(...args);
  };
  agent.leaving.set(true);
  await clock.advance(0);
  agent.stop.abort(new Error('the agent ends'));
  await clock.advance(999);
  assert.equal(await holder(), 'a');
  answer.resolve();
  await assert.rejects(agent.ended, /the agent ends/);
  assert.deepEqual([await holder(), agent.audit.running], [null, 0]);
  assert.ok(agent.audit.releases > 0);
});

test('leaving does not wait for a call that hangs, and is over after a second when resigning hangs', async (t) => {
  const { clock, start } = await fleet(t);
  const agent = start('a', 1_000);
  await clock.advance(TTL_MS + 5_000);
  assert.ok(agent.state?.leadership);
  agent.network.network = 'hang';
  await clock.advance(5_000);
  agent.leaving.set(true);
  await clock.advance(0);
  assert.equal(agent.network.calls.at(-1), 'resign');
  agent.stop.abort(new Error('the agent ends'));
  await clock.advance(1_000);
  await assert.rejects(agent.ended, /the agent ends/);
});

test('a leader that cannot renew steps down when its lease is over, aborts its audit, and follows the next leader', async (t) => {
  const { clock, holder, start } = await fleet(t);
  const agent = start('a', 3_600_000);
  await clock.advance(TTL_MS + 1_000);
  agent.network.network = 'refuse';
  const next = start('b', 1_000);
  await clock.advance(TTL_MS);
  assert.deepEqual([agent.state?.leadership, agent.audit.running, await holder()], [null, 0, 'b']);
  assert.equal(agent.audit.releases, 1);
  assert.equal(agent.state?.counts.failures.other, 0, 'an audit that was aborted did not fail');
  agent.network.network = 'up';
  await clock.advance(TTL_MS);
  assert.equal(agent.state?.holder?.session, 'b');
  assert.ok(next.state?.leadership);
});

test('a leader whose audits fail three times in a row gives the leadership up to another agent', async (t) => {
  const { clock, holder, start } = await fleet(t);
  const agent = start('a', 1_000);
  agent.audit.error = new Error('denied');
  await clock.advance(TTL_MS);
  const other = start('b', 1_000);
  await clock.advance(2 * INTERVAL_MS - 1_000);
  assert.deepEqual([agent.audit.runs, await holder()], [2, 'a']);
  await clock.advance(INTERVAL_MS + TTL_MS);
  assert.deepEqual([agent.audit.runs, await holder()], [3, 'b']);
  assert.equal(other.state?.counts.results, 1);
});
