import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { createAuditor } from '../../../src/audit/fleet-audit/auditor.ts';
import { createCell } from '../../../src/lib/cell.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { createRollStore } from '../../../src/store/roll-store.ts';
import { closeTestKvs, never, openTestKv } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { fakeAudit } from '../../support/fake-audit.ts';
import { flakyStore } from '../../support/flaky-store.ts';
import { until } from '../../support/machine-time.ts';

/** A lease of 3 s, and a read each 2 s. */
const TTL_MS = 6_000;
const INTERVAL_MS = 400;
/** For a machine that is busy with other things. */
const SLACK_MS = 20_000;

let etcd: EtcdServer;
before(async () => {
  etcd = await startEtcd();
});
after(async () => {
  await closeTestKvs();
  await etcd.dispose();
});

/** An agent's auditor in this process, which can be killed, frozen as SIGSTOP does, and cut off from the store. */
function startOne(t: TestContext, n: number, prefix: string) {
  let thaw: PromiseWithResolvers<void> | null = null;
  const frozen = async () => {
    while (thaw) await thaw.promise;
  };
  const clock: Clock = {
    ...systemClock,
    sleep: async (delayMs, signal) => {
      await systemClock.sleep(delayMs, signal);
      await frozen();
    },
  };
  const kv = openTestKv(etcd.endpoints, { prefix });
  const store = flakyStore(createRollStore(kv));
  const { leaderLocks } = store;
  const audit = fakeAudit(clock, 100);
  const leaving = createCell(false);
  let freezeAtPublish = false;
  let refused = 0;
  const auditor = createAuditor(
    {
      locks: {
        ...leaderLocks,
        publish: async (...args) => {
          if (freezeAtPublish) thaw ??= Promise.withResolvers<void>();
          await frozen();
          // The answer is counted as the store gave it, also when the deadline has passed meanwhile.
          const outcome = await leaderLocks.publish(args[0], args[1], never);
          if (outcome.kind === 'lost') refused += 1;
          return outcome;
        },
      },
      audit,
      clock,
      random: Math.random,
      session: `session-${n}`,
      instanceId: () => `i-${n}`,
      ttlMs: TTL_MS,
      intervalMs: INTERVAL_MS,
      leaving,
      onStep: () => {},
    },
    assert.fail,
  );
  const dead = new AbortController();
  const ended = auditor.loop(dead.signal).catch(() => {});
  const kill = () => {
    dead.abort(new Error('killed'));
    thaw?.resolve();
    thaw = null;
    return ended;
  };
  t.after(kill);
  return {
    n,
    audit,
    store,
    leaving,
    kill,
    leads: () => auditor.status().leading && !dead.signal.aborted,
    status: auditor.status,
    read: () => auditor.read(never),
    refused: () => refused,
    /** Stands still at the moment at which its next result is about to be sent. */
    freezeAtPublish: () => {
      freezeAtPublish = true;
    },
    isFrozen: () => thaw !== null,
    thaw: () => {
      freezeAtPublish = false;
      thaw?.resolve();
      thaw = null;
    },
  };
}

/** Every result that the store took, and every leader, in order. Each result must be the leader's at that revision. */
function followResults(t: TestContext, prefix: string, revision: string) {
  const kv = openTestKv(etcd.endpoints, { prefix });
  const stop = new AbortController();
  const results: string[] = [];
  const leaders: string[] = [];
  let holder = '';
  const ended = (async () => {
    for await (const { events } of kv.watch(revision, stop.signal)) {
      for (const { key, value } of events) {
        if (key === 'coordination/v1/audit/leader') {
          holder = value === null ? '' : JSON.parse(value).session;
          if (holder !== '') leaders.push(holder);
        } else if (key === 'coordination/v1/audit/summary' && value !== null) {
          const by: string = JSON.parse(value).lastRun.by.session;
          results.push(by);
          assert.equal(by, holder, 'a result of an agent that does not lead was taken');
        }
      }
    }
  })();
  const failure = ended.catch((error: unknown) => (stop.signal.aborted ? null : error));
  t.after(async () => {
    stop.abort(new Error('the test ended'));
    assert.equal(await failure, null);
  });
  return { results, leaders };
}

test('of 20 agents one audits, whether its leader leaves, is killed, paused or cut off', async (t) => {
  const prefix = '/election';
  const watcher = createRollStore(openTestKv(etcd.endpoints, { prefix }));
  const { revision } = await watcher.leaderLocks.read('audit', [], never);
  const followed = followResults(t, prefix, revision);
  const agents = Array.from({ length: 20 }, (_, n) => startOne(t, n, prefix));
  type Agent = (typeof agents)[number];
  const leaders = () => agents.filter((agent) => agent.leads());
  const leader = async (limitMs: number, but: readonly Agent[] = []): Promise<Agent> => {
    let found: Agent | undefined;
    await until('another leads', limitMs, async () => {
      const { holder } = await watcher.leaderLocks.read('audit', [], never);
      found = agents.find(({ n, leads }) => holder?.session === `session-${n}` && leads());
      return found !== undefined && !but.includes(found);
    });
    assert.ok(found);
    return found;
  };
  const publishes = (agent: Agent) => {
    const seen = followed.results.length;
    return until('its results are taken', TTL_MS + SLACK_MS, () =>
      followed.results.slice(seen).includes(`session-${agent.n}`),
    );
  };

  const first = await leader(SLACK_MS);
  await publishes(first);
  await until('all know of it', TTL_MS + SLACK_MS, () =>
    agents.every((agent) => agent.status().leader?.session === `session-${first.n}` && agent.status().summary !== null),
  );
  assert.deepEqual(leaders(), [first]);
  assert.equal(agents.filter(({ audit }) => audit.runs > 0).length, 1);
  assert.deepEqual((await first.read()).report?.differences.length, 1);

  // Leaves in good order: the leader lock is free at once, and waits only for the next read.
  first.leaving.set(true);
  const second = await leader(TTL_MS / 3 + SLACK_MS, [first]);
  await publishes(second);
  assert.equal(
    (second.audit.memories[0] as { sightings: { ghost: { audits: number } } }).sightings.ghost.audits > 0,
    true,
  );

  // Killed.
  const killedMs = systemClock.monotonicMs();
  await second.kill();
  const third = await leader(TTL_MS + SLACK_MS, [second]);
  t.diagnostic(`taken over ${Math.round(systemClock.monotonicMs() - killedMs)} ms after the kill, TTL ${TTL_MS} ms`);
  await publishes(third);

  // Paused at the worst moment: its result is made, and about to be sent.
  third.freezeAtPublish();
  await until('it is frozen', SLACK_MS, third.isFrozen);
  const fourth = await leader(TTL_MS + SLACK_MS, [third]);
  await publishes(fourth);
  const refusedBefore = third.refused();
  third.thaw();
  await until('its late result is refused', SLACK_MS, () => third.refused() > refusedBefore);
  await until('it knows that it does not lead', SLACK_MS, () => !third.leads());
  assert.ok(fourth.leads());
  await until('it stops auditing', SLACK_MS, () => third.audit.running === 0);

  // Cut off.
  fourth.store.network = 'refuse';
  const fifth = await leader(TTL_MS + SLACK_MS, [fourth]);
  await publishes(fifth);
  await until('the one cut off has stepped down', SLACK_MS, () => !fourth.leads() && fourth.audit.running === 0);
  const seen = followed.results.length;
  fourth.store.network = 'up';
  await until('it follows again', TTL_MS + SLACK_MS, () => fourth.status().leader?.session === `session-${fifth.n}`);
  await until('more results', SLACK_MS, () => followed.results.length > seen + 3);
  assert.deepEqual(leaders(), [fifth]);
  assert.equal(followed.leaders.length, 5);
});

test('a store outage only makes it wait, and a failed audit keeps the last result', async (t) => {
  const prefix = '/outage';
  const agent = startOne(t, 1, prefix);
  const follower = startOne(t, 2, prefix);
  await until('a result', SLACK_MS, () => agent.status().summary !== null || follower.status().summary !== null);
  for (const each of [agent, follower]) each.store.network = 'hang';
  await until('the leader steps down', SLACK_MS, () => !agent.leads() && !follower.leads());
  for (const each of [agent, follower]) each.store.network = 'refuse';
  await until('it says why', SLACK_MS, () => /the store: /.test(follower.status().staleReason ?? ''));
  for (const each of [agent, follower]) each.store.network = 'up';
  await until('one leads again', SLACK_MS, () => agent.leads() !== follower.leads());
  const [leader, other] = agent.leads() ? [agent, follower] : [follower, agent];
  leader.audit.error = new Error('denied');
  await until('all hear of the failure', SLACK_MS, () => other.status().summary?.lastRun.error === 'denied');
  assert.notEqual(other.status().summary?.result, null, 'the last result stays');
  await until('it gives way to an agent whose audits succeed', TTL_MS + SLACK_MS, () => other.leads());
  await until('that one publishes', SLACK_MS, () => leader.status().summary?.lastRun.error === null);
});
