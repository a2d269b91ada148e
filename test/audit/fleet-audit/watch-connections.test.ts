import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { createAuditor } from '../../../src/audit/fleet-audit/auditor.ts';
import type { Observation } from '../../../src/checks/check.ts';
import { EcsError } from '../../../src/ecs/ecs-errors.ts';
import { createCell } from '../../../src/lib/cell.ts';
import { openStore } from '../../../src/store/open-store.ts';
import { fakeAudit } from '../../support/fake-audit.ts';
import { flakyStore } from '../../support/flaky-store.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const TTL_MS = 30_000;
const MINUTE_MS = 60_000;
const never = new AbortController().signal;
const TOLD = ['passing', 'warning', 'critical'];
const arnOf = (id: string) => `arn:aws:ecs:us-east-1:123456789012:container-instance/demo/${id}`;

/** Agents with the continuous audit over one store, and an ECS that has some of them disconnected. */
async function fleet(t: TestContext) {
  const clock = simulatedClock();
  const config = { kind: 'memory', label: 'memory:', name: randomUUID() } as const;
  const store = await openStore(config, { clock, random: seededRandom(1), create: true, signal: never });
  t.after(() => store.close());
  const ecs = {
    ...{ disconnected: [] as string[], gone: new Set<string>(), clusters: ['demo'] },
    ...{ error: null as Error | null, deaf: new Set<string>(), looks: 0 },
  };
  const audits = { strays: [] as string[] };
  const start = (n: number) => {
    const instanceId = `i-0000000${n}`;
    const network = flakyStore(store);
    const stop = new AbortController();
    const audit = fakeAudit(clock, 1_000);
    const { run } = audit;
    audit.run = (...args) => {
      const differences = audits.strays.map((id) => ({
        ...{ kind: 'stray' as const, instanceId: id, cluster: 'demo', containerInstanceArn: arnOf(id) },
        ...{ privateIpAddress: null, since: null, reason: 'r' },
      }));
      audit.report = { differences };
      return run(...args);
    };
    audit.disconnected = async (known) => {
      ecs.looks += 1;
      if (ecs.error) throw ecs.error;
      if (ecs.deaf.has(instanceId)) throw new EcsError('no answer', { code: 'NoAnswer', retryable: true });
      const disconnected = ecs.disconnected.map((id) => {
        return { instanceId: id, containerInstanceArn: arnOf(id), present: true };
      });
      const gone = known.map((each) => each.containerInstanceArn).filter((arn) => ecs.gone.has(arn));
      return { clusters: ecs.clusters, disconnected, gone };
    };
    const agent = {
      instanceId,
      network,
      stop,
      seen: null as Observation | null,
      statuses: [] as string[],
      reasons: new Set<string>(),
    };
    const auditor = createAuditor(
      {
        ...{
          locks: network.leaderLocks,
          audit,
          clock,
          random: () => 0.5,
          session: `s${n}`,
          leaving: createCell(false),
        },
        ...{ instanceId: () => instanceId, ttlMs: TTL_MS, intervalMs: 300_000, onStep: () => {} },
      },
      (reason) => assert.fail(reason),
      {
        record: () => ({ containerInstanceArn: arnOf(instanceId), cluster: 'demo' }),
        onConnection(seen) {
          if (seen?.status !== agent.seen?.status) agent.statuses.push(seen?.status ?? 'none');
          agent.seen = seen;
          if (seen) agent.reasons.add(seen.reason);
        },
      },
    );
    auditor.loop(stop.signal).catch(() => {}); // ended by the test
    t.after(() => stop.abort(new Error('the test ended')));
    return { agent, auditor };
  };
  const all = [1, 2, 3].map(start);
  await clock.advance(2 * TTL_MS);
  const leader = all.find(({ auditor }) => auditor.status().leading)?.agent;
  const others = all.filter(({ auditor }) => !auditor.status().leading).map(({ agent }) => agent);
  assert.ok(leader && others.length === 2);
  const [first, second] = others;
  assert.ok(first && second);
  const revision = async () => (await store.leaderLocks.read('x', [], never)).revision;
  return {
    clock,
    ecs,
    audits,
    leader,
    first,
    second,
    revision,
    kill: (agent: typeof leader) => agent.stop.abort(new Error('x')),
  };
}

test('a node is warned of a disconnection of four minutes, and is critical after six; the others see nothing', async (t) => {
  const { clock, ecs, leader, first, second } = await fleet(t);
  ecs.disconnected = [first.instanceId];
  await clock.advance(4 * MINUTE_MS);
  assert.deepEqual(first.statuses, ['passing', 'warning']);
  ecs.disconnected = [];
  await clock.advance(2 * MINUTE_MS);
  ecs.disconnected = [first.instanceId, leader.instanceId];
  await clock.advance(6 * MINUTE_MS + TTL_MS);
  for (const agent of [first, leader]) {
    assert.equal(agent.statuses.at(-1), 'critical', agent.instanceId);
    assert.match(agent.seen?.reason ?? '', /^ECS has ecs-agent disconnected since \S+, for more than 5m$/);
  }
  ecs.disconnected = [];
  await clock.advance(2 * MINUTE_MS);
  assert.deepEqual(first.statuses, ['passing', 'warning', 'passing', 'warning', 'critical', 'passing']);
  assert.deepEqual([leader.statuses, second.statuses], [['passing', 'warning', 'critical', 'passing'], ['passing']]);
});

test('ECS is asked once a minute, and while nothing changes nothing is written', async (t) => {
  const { clock, ecs, first, revision } = await fleet(t);
  ecs.disconnected = [first.instanceId];
  await clock.advance(8 * MINUTE_MS);
  const [before, looks] = [await revision(), ecs.looks];
  await clock.advance(30 * MINUTE_MS);
  assert.equal(first.seen?.status, 'critical');
  assert.ok(ecs.looks - looks <= 30, `${ecs.looks - looks} looks`);
  // The audits of half an hour write their results; the looks write nothing.
  assert.equal(Number(await revision()) - Number(before), 6);
});

test('a leader that is killed meanwhile: the next one counts on, and until it has looked the node is a warning at most', async (t) => {
  const { clock, ecs, leader, first, second, kill } = await fleet(t);
  ecs.disconnected = [first.instanceId, second.instanceId];
  await clock.advance(3 * MINUTE_MS + 10_000);
  kill(leader);
  await clock.advance(4 * MINUTE_MS);
  assert.deepEqual([first.statuses, second.statuses], [TOLD, TOLD]);
  const reasons = [...first.reasons, ...second.reasons].join('\n');
  assert.match(reasons, /^ECS has ecs-agent disconnected since \S+, as last seen; no agent audits now$/m);

  const next = first.network.calls.includes('publish') ? first : second;
  const last = next === first ? second : first;
  kill(next);
  await clock.advance(3 * MINUTE_MS);
  assert.ok(last.network.calls.includes('publish'), 'it leads now');
  assert.equal(last.seen?.status, 'critical');
  assert.deepEqual([...new Set(last.statuses.slice(3))].sort(), ['critical', 'warning']);
});

test('while ECS throttles every look the nodes are warnings that say so, and afterwards as before', async (t) => {
  const { clock, ecs, first, second } = await fleet(t);
  ecs.disconnected = [first.instanceId];
  await clock.advance(7 * MINUTE_MS);
  ecs.error = new EcsError('ThrottlingException', { code: 'ThrottlingException', retryable: true });
  await clock.advance(4 * MINUTE_MS);
  assert.match(first.seen?.reason ?? '', /as last seen; no agent could ask ECS since \S+: ThrottlingException$/);
  await clock.advance(5 * MINUTE_MS);
  assert.deepEqual([first.seen?.status, second.seen?.status], ['warning', 'warning']);
  assert.match(second.seen?.reason ?? '', /^not known: no agent could ask ECS since/);
  ecs.error = null;
  await clock.advance(2 * MINUTE_MS);
  assert.deepEqual([first.seen?.status, second.seen?.status], ['critical', 'passing']);
});

test('a leader that alone cannot ask ECS gives the lead up before any node warns, however far its next audit is', async (t) => {
  const { clock, ecs, leader, first, second } = await fleet(t);
  assert.deepEqual([leader.seen?.status, first.seen?.status, second.seen?.status], ['passing', 'passing', 'passing']);
  ecs.deaf.add(leader.instanceId);
  await clock.advance(10 * MINUTE_MS);
  assert.deepEqual([leader.statuses, first.statuses, second.statuses], [['passing'], ['passing'], ['passing']]);
  ecs.disconnected = [leader.instanceId];
  await clock.advance(7 * MINUTE_MS);
  assert.deepEqual([leader.seen?.status, first.seen?.status], ['critical', 'passing']);
});

test('a node whose container instance is deregistered stays critical, and one that is a stray warns until it is none', async (t) => {
  const { clock, ecs, audits, leader, first, second, revision, kill } = await fleet(t);
  ecs.disconnected = [first.instanceId];
  await clock.advance(7 * MINUTE_MS);
  ecs.disconnected = [];
  ecs.gone.add(arnOf(first.instanceId));
  audits.strays = [first.instanceId, second.instanceId];
  await clock.advance(7 * MINUTE_MS);
  assert.deepEqual(first.statuses, TOLD);
  assert.equal(second.seen?.reason, 'ECS does not have its container instance, as the last audit found');
  const before = await revision();
  await clock.advance(10 * MINUTE_MS);
  assert.equal(Number(await revision()) - Number(before), 2, 'only the results of the audits were written');
  kill(leader);
  await clock.advance(3 * MINUTE_MS);
  assert.deepEqual([first.seen?.status, second.seen?.status], ['critical', 'warning']);
  assert.ok(!second.statuses.includes('critical'));
  ecs.gone.clear();
  audits.strays = [];
  await clock.advance(7 * MINUTE_MS);
  assert.deepEqual([first.seen?.status, second.seen?.status], ['passing', 'passing']);
});

test('a node of a cluster that is no longer asked about loses the check, and gets it again', async (t) => {
  const { clock, ecs, first, leader } = await fleet(t);
  ecs.clusters = ['other'];
  await clock.advance(2 * MINUTE_MS);
  assert.deepEqual([first.seen, leader.seen], [null, null]);
  ecs.clusters = ['demo', 'other'];
  await clock.advance(2 * MINUTE_MS);
  assert.deepEqual([first.seen?.status, leader.seen?.status], ['passing', 'passing']);
});

test('a store that is away loses nothing of the count, and a mass of 3,000 nodes is published in pieces', async (t) => {
  const { clock, ecs, leader, first } = await fleet(t);
  ecs.disconnected = Array.from({ length: 3_000 }, (_, n) => `i-${(n + 4_096).toString(16).padStart(8, '0')}`);
  ecs.disconnected.push(first.instanceId);
  await clock.advance(3 * MINUTE_MS);
  assert.equal(first.seen?.status, 'warning');
  leader.network.refused = ['publish'];
  await clock.advance(2 * MINUTE_MS);
  leader.network.refused = [];
  await clock.advance(2 * MINUTE_MS);
  assert.equal(first.seen?.status, 'critical');
});
