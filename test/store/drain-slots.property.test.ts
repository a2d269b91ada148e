import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DrainClaim } from '../../src/store/drain-slots.ts';
import { createDrainSlots } from '../../src/store/drain-slots.ts';
import { drainAdmissionKey } from '../../src/store/keys.ts';
import type { Kv } from '../../src/store/kv.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import { openMemoryKv } from '../../src/store/sqlite/sqlite-kv.ts';
import { fewerInQuickRun } from '../support/quick-run.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const { signal } = new AbortController();
const DRAINS = 'coordination/v1/drains/';

test('in whatever order their calls arrive, agents never have more claims than the share', async () => {
  let runs = 0;
  let claimed = 0;
  const property = fc.asyncProperty(
    fc.scheduler(),
    fc.integer({ min: 2, max: 12 }),
    fc.integer({ min: 1, max: 40 }),
    fc.integer({ min: 0, max: 40 }),
    async (scheduler, nodes, maxSharePercent, expiries) => {
      runs += 1;
      const clock = simulatedClock();
      const config = { kind: 'memory', label: 'memory:', name: `property-${runs}` } as const;
      const kv = await openMemoryKv(config, { clock, random: Math.random, bootId: 'boot-1' });
      const store = createRollStore(kv);
      try {
        for (let n = 0; n < nodes; n += 1) {
          const instanceId = sampleInstanceId(n);
          const registration = {
            instanceId,
            session: 's',
            since: '2026-01-01T00:00:00Z',
            ttlMs: 60_000,
            retentionMs: 3_600_000,
          };
          await store.register(registration, sampleRecord({ ec2InstanceId: instanceId }), { takeover: true, signal });
        }
        const slots = Math.max(1, Math.floor((maxSharePercent * nodes) / 100));
        let most = 0;
        const txn: Kv['txn'] = async (each, s) => {
          const result = await kv.txn(each, s);
          most = Math.max(most, (await kv.range({ prefix: DRAINS }, signal)).kvs.length);
          return result;
        };
        // Each call of the store is carried out when its turn comes.
        const late: Kv = {
          ...kv,
          range: scheduler.scheduleFunction(kv.range),
          txn: scheduler.scheduleFunction(txn),
          grant: scheduler.scheduleFunction(kv.grant),
          keepAlive: scheduler.scheduleFunction(kv.keepAlive),
        };
        const agents = Array.from({ length: nodes }, async (_, n) => {
          const slotsOf = createDrainSlots(late);
          const claim: DrainClaim = {
            phase: 'claimed',
            arn: 'a',
            cluster: 'demo',
            reason: 'r',
            since: 's',
            session: `${n}`,
          };
          for (let tries = 0; tries < 3; tries += 1) {
            const outcome = await slotsOf.take({ instanceId: sampleInstanceId(n), claim, maxSharePercent }, signal);
            if (outcome.kind === 'taken' && n % 2 === 0) await slotsOf.giveBack(outcome.held, signal);
          }
        });
        // A lock whose lease ends while its agent is still counting.
        const ends = scheduler.scheduleFunction(async () => {
          await kv.txn({ guards: [], puts: [], deletes: [drainAdmissionKey('demo', null)], reads: [] }, signal);
        });
        const endLocks = async () => {
          for (let n = 0; n < expiries; n += 1) await ends();
        };
        await scheduler.waitFor(Promise.all([...agents, endLocks()]));
        assert.ok(most <= slots, `${most} of ${slots}`);
        claimed += most;
      } finally {
        await store.close();
      }
    },
  );
  await fc.assert(property, { numRuns: fewerInQuickRun(150) });
  assert.ok(claimed > 0);
});
