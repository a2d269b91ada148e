import assert from 'node:assert/strict';
import { test } from 'node:test';
import { differenceChanges, findDifferences } from '../../src/audit/fleet-audit/kept-differences.ts';
import { type AuditMemory, decodeMemory, emptyAuditMemory, encodeMemory } from '../../src/audit/history.ts';
import { RECHECK_AFTER_MS, runAudit } from '../../src/audit/run-audit.ts';
import type { ContainerInstance } from '../../src/ecs/ecs-api.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { DEFAULT_MASS_LOSS } from '../../src/registry/mass-loss.ts';
import { fakeStore } from '../support/fake-store.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import { fakeEcs } from './fake-ecs.ts';
import { absentNode, NOW_MS, sampleArn, sampleInstance, sampleNode } from './sample-sides.ts';

const { signal } = new AbortController();
const MINUTE_MS = 60_000;
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

/** Audits one after the other, each with what the one before has left in the store. */
function audits(entries: readonly RollEntry[], instances: readonly ContainerInstance[], maxGapMs = 60 * MINUTE_MS) {
  const clock = simulatedClock({ wallMs: NOW_MS });
  const store = fakeStore();
  const ecs = fakeEcs(instances);
  store.commit(entries);
  let memory: AuditMemory = emptyAuditMemory;
  return {
    store,
    ecs,
    wait: (ms: number) => clock.advance(ms),
    async next(massLoss: typeof DEFAULT_MASS_LOSS | null = DEFAULT_MASS_LOSS) {
      const vanish = { massLoss, maxGapMs };
      let isDone = false;
      const running = runAudit({ store, ecs, clock }, { clusters: ['demo'], memory, vanish }, signal);
      running.finally(() => {
        isDone = true;
      });
      while (!isDone) await clock.advance(RECHECK_AFTER_MS);
      const { report, memory: next } = await running;
      memory = decodeMemory(encodeMemory(next), report.finishedAt);
      const ids = (kind: string) =>
        [...report.differences, ...report.notes].filter((each) => each.kind === kind).map((each) => each.instanceId);
      return { report, ghosts: ids('ghost'), vanished: ids('vanished') };
    },
  };
}

const ids = (...numbers: readonly number[]) => numbers.map((n) => sampleInstanceId(n));
const lost = (n: number) => absentNode(n, null);
const all = range(1, 20).map((n) => sampleInstance(n));

test('the nodes of a mass loss are no ghosts and no events, and none when they are back', async () => {
  const { next, store, wait } = audits([...range(1, 2).map((n) => sampleNode(n)), ...range(3, 20).map(lost)], all);
  const first = await next();
  assert.deepEqual([first.ghosts, first.vanished, first.report.agreeing], [[], ids(...range(3, 20)), 2]);
  assert.match(first.report.notes[0]?.reason ?? '', /many nodes vanished at once.*; lost, last health/);
  assert.deepEqual(differenceChanges(new Map(), findDifferences(first.report)), {});
  await wait(5 * MINUTE_MS);
  // All but three, which alone are no mass loss.
  store.commit(range(3, 17).map((n) => sampleNode(n)));
  assert.deepEqual((await next()).vanished, ids(18, 19, 20));
  store.commit(range(18, 20).map((n) => sampleNode(n)));
  const last = await next();
  assert.deepEqual([last.ghosts, last.vanished], [[], []]);
});

test('a mass loss that stays is reported after 15 minutes, since it was first seen, and stays reported', async () => {
  const { next, wait } = audits([sampleNode(1), sampleNode(2), ...range(3, 20).map(lost)], all);
  const first = await next();
  for (const minute of [5, 10]) {
    await wait(5 * MINUTE_MS);
    assert.deepEqual((await next()).ghosts, [], `after ${minute} minutes`);
  }
  for (let audit = 0; audit < 3; audit += 1) {
    await wait(5 * MINUTE_MS);
    const { report, ghosts, vanished } = await next();
    assert.deepEqual([ghosts, vanished], [ids(...range(3, 20)), []]);
    assert.equal(report.differences[0]?.since, first.report.finishedAt);
    assert.equal(Object.keys(differenceChanges(new Map(), findDifferences(report))).length, 18);
  }
});

test('also where audits are hours apart: the second reports it', async () => {
  const hours = 6 * 60 * MINUTE_MS;
  const { next, wait } = audits([sampleNode(1), ...range(2, 20).map(lost)], all, 2 * hours);
  assert.equal((await next()).vanished.length, 19);
  await wait(hours);
  assert.equal((await next()).ghosts.length, 19);
});

test('nodes that the store does not know at all are vanished like lost ones: it may have lost its data', async () => {
  const { next } = audits([sampleNode(1), sampleNode(2)], all);
  const { ghosts, vanished } = await next();
  assert.deepEqual([ghosts, vanished], [[], ids(...range(3, 20))]);
});

test('a ghost that was one before stays one in a mass loss, and a node lost later waits for itself', async () => {
  const { next, store, wait } = audits([...range(1, 19).map((n) => sampleNode(n)), lost(20)], all);
  assert.deepEqual((await next()).ghosts, ids(20));
  store.commit(range(5, 19).map(lost));
  await wait(5 * MINUTE_MS);
  const during = await next();
  assert.deepEqual([during.ghosts, during.vanished], [ids(20), ids(...range(5, 19))]);
  await wait(14 * MINUTE_MS);
  store.commit([...range(5, 12).map((n) => sampleNode(n)), lost(1), lost(2), lost(3), lost(4)]);
  await wait(2 * MINUTE_MS);
  const after = await next();
  assert.deepEqual([after.ghosts, after.vanished], [ids(...range(13, 20)), ids(1, 2, 3, 4)]);
});

test('few ghosts, departed nodes and former registrations are ghosts at once; so is all with no limits', async () => {
  const departure = { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } as const;
  const few = audits([...range(1, 16).map((n) => sampleNode(n)), ...range(17, 20).map(lost)], all);
  assert.deepEqual((await few.next()).ghosts, ids(17, 18, 19, 20));
  const left = audits([sampleNode(1), ...range(2, 20).map((n) => absentNode(n, departure))], all);
  assert.equal((await left.next()).ghosts.length, 19);
  const former = (n: number) =>
    sampleInstance(n, { containerInstanceArn: sampleArn(n, 'demo', 1), agentConnected: false });
  const twice = audits(
    range(1, 8).map((n) => sampleNode(n)),
    range(1, 8).flatMap((n) => [sampleInstance(n), former(n)]),
  );
  assert.equal((await twice.next()).ghosts.length, 8);
  const off = audits([sampleNode(1), ...range(2, 20).map(lost)], all);
  assert.equal((await off.next(null)).ghosts.length, 19);
});

test('a mass loss of more nodes than an audit remembers is reported whole, and stays reported', async () => {
  const many = range(1, 3_000);
  const instances = many.map((n) => sampleInstance(n));
  const { next, store, wait } = audits(
    [...range(1, 500).map((n) => sampleNode(n)), ...range(501, 3_000).map(lost)],
    instances,
  );
  assert.equal((await next()).report.notes.filter(({ kind }) => kind === 'vanished').length > 0, true);
  for (let audit = 0; audit < 3; audit += 1) {
    await wait(16 * MINUTE_MS);
    assert.deepEqual((await next()).vanished, [], `audit ${audit}`);
  }
  store.commit(range(1, 300).map(lost));
  await wait(MINUTE_MS);
  const again = new Set((await next()).vanished);
  assert.ok(ids(...range(1, 300)).every((id) => again.has(id)));
});
