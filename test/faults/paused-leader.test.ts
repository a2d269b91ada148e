import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/lib/clock.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import type { Change } from '../../src/store/read-roll.ts';
import { startEtcdCluster } from '../support/etcd-cluster.ts';
import { startMachineTimer, TURN_MS, until } from '../support/machine-time.ts';
import { openEtcdStore, startPublishers } from '../support/publishers.ts';

const AGENTS = 20;
const TTL_MS = 5_000;
/**
 * A leader that resumes revokes 16 leases at a time. Where these revocations are lost, since it is none any more, it waits
 * for 7 s and goes on with the rest, which its successor carries out: seen as a loss without a cause, up to 8 s later.
 */
const LATE_REVOCATIONS_MS = 8_000;
const ROUNDS = 10;
const MASS_LOSS = 0.3 * AGENTS;
const never = new AbortController().signal;

/** Follows the presences in a store, and the events of a reader of the roll. */
async function startReader(t: TestContext, endpoints: readonly string[]) {
  const store = await openEtcdStore(endpoints);
  const registry = createRegistry({ store, clock: systemClock, random: Math.random, readTimeoutMs: 60_000 });
  const ended = new AbortController();
  const timer = startMachineTimer();
  const ticking = setInterval(timer.tick, TURN_MS);
  t.after(async () => {
    ended.abort();
    clearInterval(ticking);
    await registry.close();
    await store.close();
  });
  const nowMs = () => {
    timer.tick();
    return timer.elapsedMs();
  };
  /** Since when each node that is missing now is so, in milliseconds of machine time. */
  const missing = new Map<string, number>();
  const seen = { vanished: 0, longestMs: 0 };
  /** Kinds, with a question mark for what is uncertain. */
  const told: string[] = [];
  /** Told as lost, and not as recovered since. */
  const lost = new Set<string>();
  const note = ({ instanceId, presence }: Extract<Change, { kind: 'presence' }>) => {
    if (presence === null) {
      seen.vanished += 1;
      missing.set(instanceId, nowMs());
    } else if (missing.has(instanceId)) {
      seen.longestMs = Math.max(seen.longestMs, nowMs() - (missing.get(instanceId) ?? 0));
      missing.delete(instanceId);
    }
  };
  const watchPresences = async () => {
    let { revision } = await store.read(never);
    for (;;) {
      try {
        for await (const batch of store.watch(revision, ended.signal)) {
          revision = batch.revision;
          for (const change of batch.changes) if (change.kind === 'presence') note(change);
        }
      } catch {
        if (ended.signal.aborted) return;
        await sleep(50); // its member was stopped: the next watch starts at another
      }
    }
  };
  watchPresences();
  const events = await registry.events({ since: null, signal: never });
  const read = async () => {
    for await (const { events: batch } of events) {
      for (const event of batch) {
        told.push(`${event.kind}${'uncertain' in event && event.uncertain ? '?' : ''}`);
        if (event.kind === 'lost') lost.add(event.instanceId);
        if (event.kind === 'recovered') lost.delete(event.instanceId);
      }
    }
  };
  read().catch(() => {}); // as above
  await until('the reader has the roll', 30_000, () => told.includes('synced'));
  const count = (...kinds: string[]) => told.filter((each) => kinds.includes(each)).length;
  return {
    allAreBack: () => missing.size === 0 && lost.size === 0,
    vanished: () => seen.vanished,
    /** @returns how many vanished since the last time */
    begin() {
      const { vanished } = seen;
      [seen.vanished, told.length] = [0, 0];
      return vanished;
    },
    /** What happened since `begin`; no living node may have been missing for longer than a second since the last check. */
    check(what: string) {
      t.diagnostic(
        `${what}: ${seen.vanished} vanished, ${Math.round(seen.longestMs)} ms at the longest; told: ${told}`,
      );
      assert.deepEqual([...missing.keys()], [], 'all are back');
      assert.ok(seen.longestMs < 1_000, `${seen.longestMs} ms`);
      assert.deepEqual([...lost], [], 'each lost event has its recovered at once');
      seen.longestMs = 0;
      // A mass loss is more than 30 % of the nodes.
      assert.ok(count('lost') <= MASS_LOSS, `${count('lost')} told as lost for certain`);
      if (seen.vanished > MASS_LOSS) assert.ok(count('lost?') > 0, 'the others are uncertain');
      return seen.vanished;
    },
    told,
  };
}

test('a leader that was paused revokes what others renewed: no node is missing for longer than a second, and no fleet is reported as lost', {
  timeout: 600_000,
}, async (t) => {
  const cluster = await startEtcdCluster(3);
  t.after(() => cluster.dispose());
  const agents = await startPublishers(t, cluster.endpoints, { count: AGENTS, ttlMs: TTL_MS });
  const reader = await startReader(t, cluster.endpoints);
  let lossy = 0;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const leader = await cluster.leader();
    reader.begin();
    process.kill(leader.pid, 'SIGSTOP');
    await sleep(TTL_MS + 2_000);
    const whilePaused = reader.begin();
    process.kill(leader.pid, 'SIGCONT');
    // No event tells the last revocation.
    await sleep(LATE_REVOCATIONS_MS);
    await until('all are back', 30_000, reader.allAreBack);
    const vanished = reader.check(`round ${round}, ${whilePaused} vanished before the leader resumed`);
    if (whilePaused + vanished > 0) lossy += 1;
  }
  t.diagnostic(`${lossy} of ${ROUNDS} rounds lost something`);

  // Whether a leader that resumes hears of its successor first is a matter of luck. This is what it does if it is not, and
  // meanwhile another member hangs: the heartbeats that it does not answer take the watches there along.
  const leader = await cluster.leader();
  const stopped = cluster.members.find((member) => member !== leader);
  const left = cluster.members.find((member) => member !== leader && member !== stopped);
  assert.ok(stopped && left);
  const beatsOf = () => agents.map(({ state }) => state().counts.beats);
  const beatsBefore = beatsOf();
  process.kill(stopped.pid, 'SIGSTOP');
  await until('each has been answered twice', 30_000, () =>
    beatsOf().every((beats, n) => beats >= (beatsBefore[n] ?? 0) + 2),
  );
  reader.begin();
  const heardOf = () => agents.reduce((sum, { heard }) => sum + heard(), 0);
  const before = heardOf();
  const leases = agents.slice(0, AGENTS / 2).map(({ state }) => BigInt(state().hold?.presenceLease ?? 0).toString(16));
  // On a starved machine one may have run out by then.
  const revoke = (lease: string) =>
    left.etcdctl('lease', 'revoke', lease).catch((error) => assert.match(String(error), /lease not found/));
  await Promise.all(leases.map(revoke));
  await until('the loss is over', 2 * TTL_MS + 10_000, () => reader.told.includes('certain'));
  // This watch and the registry's are two: one that is at the member that hangs leaves it up to 9 s later. On a starved
  // machine a lease may run out besides.
  await until('the watch of the presences has seen it', 30_000, () => reader.vanished() >= AGENTS / 2);
  await until('all are back', 30_000, reader.allAreBack);
  reader.check('half of the leases revoked, a member hangs');
  // A heartbeat may come first now and then.
  assert.ok(heardOf() - before > AGENTS / 4, `${heardOf() - before} heard of it by their watch`);
});
