import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runDrain } from '../../../src/agent/drain/drain-run.ts';
import { createCell } from '../../../src/lib/cell.ts';
import type { DrainSlots } from '../../../src/store/drain-slots.ts';
import { createRollStore } from '../../../src/store/roll-store.ts';
import { openMemoryKv } from '../../../src/store/sqlite/sqlite-kv.ts';
import { StoreError } from '../../../src/store/store-errors.ts';
import { fakeAgentEcs, noAnswer } from '../../support/fake-agent-ecs.ts';
import { keptLog, silentLog } from '../../support/kept-log.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const NODES = 8;
const SPOT = { kind: 'spot-interruption', action: 'terminate', time: null };

test('nodes that wait for a slot write nothing until a slot is given back, and then the next node takes it', async () => {
  const clock = simulatedClock();
  const random = seededRandom(3);
  const config = { kind: 'memory', label: 'memory:', name: 'quiet-waiting' } as const;
  const kv = await openMemoryKv(config, { clock, random, bootId: 'boot-1' });
  let ranges = 0;
  const range: typeof kv.range = (query, signal) => {
    ranges += 1;
    return kv.range(query, signal);
  };
  const store = createRollStore({ ...kv, range });
  const ecs = fakeAgentEcs();
  const stop = new AbortController();
  const agents = await Promise.all(
    Array.from({ length: NODES }, async (_, n) => {
      const ec2InstanceId = sampleInstanceId(n);
      const containerInstanceArn = `arn:aws:ecs:us-east-1:1:container-instance/demo/${n}`;
      const record = sampleRecord({ ec2InstanceId, containerInstanceArn, interruption: SPOT });
      const registration = {
        instanceId: ec2InstanceId,
        session: 's',
        since: '2026-01-01T00:00:00Z',
        ttlMs: 86_400_000,
      };
      await store.register({ ...registration, retentionMs: 86_400_000 }, record, {
        takeover: true,
        signal: stop.signal,
      });
      ecs.add(containerInstanceArn);
      const cell = createCell(record);
      const running = runDrain(
        {
          ...{ config: { on: ['interruption'], criticalAfterMs: 300_000, maxSharePercent: 10 }, clock, random },
          ...{ log: silentLog, session: `${n}`, slots: store.drainSlots, ecs: async () => ecs },
          ...{
            record: cell.get,
            noticesKnown: () => true,
            changes: cell,
            leaving: createCell(false),
            onStep: () => {},
          },
        },
        stop.signal,
      ).catch(() => {});
      return { arn: containerInstanceArn, cell, running };
    }),
  );
  const revision = async () => {
    const read = await kv.txn({ guards: [], puts: [], deletes: [], reads: [] }, stop.signal);
    return Number(read.revision);
  };
  const draining = () => agents.filter(({ arn }) => ecs.status(arn) === 'DRAINING');

  await clock.advance(60_000);
  assert.equal(draining().length, 1);
  const before = await revision();
  ranges = 0;
  await clock.advance(600_000);
  assert.equal((await revision()) - before, 0);
  // Each try of the agent that keeps the admission lock reads the claims and the roll; the others read one key.
  assert.ok(ranges >= 2 * 40 && ranges <= 2 * 61, `${ranges} ranges in 10 minutes`);

  const [first] = draining();
  first?.cell.set({ ...first.cell.get(), interruption: null });
  await clock.advance(30_000);
  assert.ok(first && ecs.status(first.arn) === 'ACTIVE');
  assert.equal(draining().length, 1);
  stop.abort(new Error('the test ended'));
  await Promise.all(agents.map(({ running }) => running));
  await store.close();
});

test('a store that does not answer is a line for each kind of error, however often and however long it is asked', async () => {
  const clock = simulatedClock();
  const lines: string[] = [];
  let tries = 0;
  const read = async () => {
    tries += 1;
    throw new StoreError(tries % 2 === 1 ? `no answer within ${800 + tries} ms` : 'connection refused', {
      retryable: true,
    });
  };
  const stop = new AbortController();
  const cell = createCell(sampleRecord({ interruption: SPOT }));
  const running = runDrain(
    {
      ...{ config: { on: ['interruption'], criticalAfterMs: 300_000, maxSharePercent: 10 }, clock, random: () => 0.5 },
      ...{ log: keptLog(({ msg }) => lines.push(msg)), session: 's', slots: { read } as unknown as DrainSlots },
      ...{ ecs: async () => fakeAgentEcs(), record: cell.get, noticesKnown: () => true, changes: cell },
      ...{ leaving: createCell(false), onStep: () => {} },
    },
    stop.signal,
  ).catch(() => {});
  await clock.advance(90_000);
  assert.ok(tries > 3, `${tries} tries`);
  assert.deepEqual(lines, ['drain: no answer within 801 ms', 'drain: connection refused']);
  stop.abort(new Error('the test ended'));
  await running;
});

test('a request to drain without an answer is repeated ever more rarely, although ECS describes the node each time', async () => {
  const clock = simulatedClock();
  const random = seededRandom(4);
  const config = { kind: 'memory', label: 'memory:', name: 'unanswered-requests' } as const;
  const store = createRollStore(await openMemoryKv(config, { clock, random, bootId: 'boot-1' }));
  const ecs = fakeAgentEcs();
  const arn = 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/1';
  ecs.add(arn);
  ecs.failing.set('ecs:UpdateContainerInstancesState', noAnswer('ecs:UpdateContainerInstancesState'));
  const cell = createCell(sampleRecord({ containerInstanceArn: arn, interruption: SPOT }));
  const stop = new AbortController();
  const running = runDrain(
    {
      ...{ config: { on: ['interruption'], criticalAfterMs: 300_000, maxSharePercent: 10 }, clock, random },
      ...{ log: silentLog, session: 's', slots: store.drainSlots, ecs: async () => ecs, record: cell.get },
      ...{ noticesKnown: () => true, changes: cell, leaving: createCell(false), onStep: () => {} },
    },
    stop.signal,
  ).catch(() => {}); // ended by the test
  const sent = (status: string) => ecs.calls.filter((call) => call === status).length;
  await clock.advance(1_800_000);
  // Every 15 s on average, once the pause has grown.
  assert.ok(sent('DRAINING') > 60 && sent('DRAINING') < 200, `${sent('DRAINING')} requests in half an hour`);
  ecs.failing.clear();
  await clock.advance(31_000);
  assert.equal(ecs.status(arn), 'DRAINING');
  ecs.failing.set('ecs:UpdateContainerInstancesState', noAnswer('ecs:UpdateContainerInstancesState'));
  cell.set({ ...cell.get(), interruption: null });
  await clock.advance(1_800_000);
  assert.ok(sent('ACTIVE') > 60 && sent('ACTIVE') < 200, `${sent('ACTIVE')} requests in half an hour`);
  stop.abort(new Error('the test ended'));
  await running;
  await store.close();
});
