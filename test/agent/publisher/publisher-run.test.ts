import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { Desired, PublisherState } from '../../../src/agent/publisher/publisher-plan.ts';
import { createPublishLog, runPublisher } from '../../../src/agent/publisher/publisher-run.ts';
import { untilAborted } from '../../../src/lib/abort.ts';
import { createCell } from '../../../src/lib/cell.ts';
import type { Log } from '../../../src/lib/log.ts';
import { encodeRecord } from '../../../src/record/codec.ts';
import type { NodeRecord } from '../../../src/record/record.ts';
import { presenceState } from '../../../src/record/roll.ts';
import { openStore } from '../../../src/store/open-store.ts';
import type { Store } from '../../../src/store/store.ts';
import { type FlakyStore, flakyStore } from '../../support/flaky-store.ts';
import { fewerInQuickRun } from '../../support/quick-run.ts';
import { sampleRecord, spreadInstanceId } from '../../support/sample-record.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { type SimulatedClock, simulatedClock } from '../../support/simulated-clock.ts';

type PublishLog = ReturnType<typeof createPublishLog>;

const TTL_MS = 30_000;
const never = new AbortController().signal;
const record = sampleRecord();

interface Bench {
  readonly clock: SimulatedClock;
  readonly store: Store;
  state(): Promise<string>;
  revision(): Promise<string>;
}

async function bench(t: TestContext): Promise<Bench> {
  const clock = simulatedClock();
  const config = { kind: 'memory', label: 'memory:', name: randomUUID() } as const;
  const store = await openStore(config, { clock, random: seededRandom(1), create: true, signal: never });
  t.after(() => store.close());
  const signal = new AbortController().signal;
  return {
    clock,
    store,
    async state() {
      const { entry } = await store.readOne(record.ec2InstanceId, signal);
      return entry ? presenceState(entry) : 'unknown';
    },
    revision: async () => (await store.read(signal)).revision,
  };
}

function publish(
  t: TestContext,
  { clock, store, retentionMs = 86_400_000 }: Bench & { readonly retentionMs?: number },
  session = 's1',
  restarting = () => false,
  log: PublishLog = () => {},
) {
  const desired = createCell<Desired | null>(null);
  const leaving = createCell(false);
  const network: FlakyStore = flakyStore(store);
  const stop = new AbortController();
  t.after(() => stop.abort());
  const seen: { state: PublisherState | null; reason: string } = { state: null, reason: '' };
  const ended = runPublisher(
    {
      store: network,
      clock,
      random: () => 0.5,
      session,
      ttlMs: TTL_MS,
      retentionMs,
      desired,
      leaving,
      restarting,
      onStep(step, state) {
        log(step, state);
        seen.state = state;
        seen.reason = step.reason;
      },
    },
    stop.signal,
  );
  ended.catch(() => {}); // aborted by the test's end
  const want = (change: Partial<NodeRecord> = {}) => {
    const next = sampleRecord({ sidecar: { version: '1', session }, ...change });
    desired.set({ record: next, json: encodeRecord(next) });
  };
  return { desired, leaving, network, ended, seen, want };
}

test('registers as soon as the record is known, then sends a heartbeat each third of the TTL and writes nothing', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  await b.clock.advance(20_000);
  assert.equal(agent.network.calls.length, 0);
  agent.want();
  await b.clock.advance(0);
  assert.equal(await b.state(), 'present');
  const revision = await b.revision();
  await b.clock.advance(600_000);
  assert.equal(await b.revision(), revision);
  const heartbeats = agent.network.calls.filter((call) => call === 'renew').length;
  assert.ok(heartbeats >= 60 && heartbeats <= 67, `${heartbeats} heartbeats in 10 minutes`);
  assert.deepEqual([...new Set(agent.network.calls)], ['register', 'renew', 'notHeld']);
  assert.equal(agent.network.calls.filter((call) => call === 'notHeld').length, 2);
});

test('writes a change at once, the same record never', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.want();
  await b.clock.advance(1_000);
  agent.want();
  await b.clock.advance(1_000);
  assert.deepEqual(agent.network.calls, ['register']);
  agent.want({ privateIpAddress: '10.0.0.9' });
  await b.clock.advance(0);
  assert.deepEqual(agent.network.calls, ['register', 'update']);
});

test('a refused store is asked again and again with growing pauses, and the lease outlives a short outage', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.want();
  await b.clock.advance(0);
  const revision = await b.revision();
  agent.network.network = 'refuse';
  await b.clock.advance(25_000);
  const tries = agent.network.calls.length;
  assert.ok(tries > 3 && tries < 30, `${tries} calls in 25 s`);
  agent.network.network = 'up';
  await b.clock.advance(4_500);
  assert.equal(await b.state(), 'present');
  assert.equal(await b.revision(), revision, 'nothing was written: the lease was never lost');
  assert.equal(agent.seen.state?.counts.losses, 0);
});

for (const network of ['refuse', 'hang'] as const) {
  test(`registers again within a TTL after an outage that outlived the lease (${network})`, async (t) => {
    const b = await bench(t);
    const agent = publish(t, b);
    agent.want();
    await b.clock.advance(0);
    agent.network.network = network;
    await b.clock.advance(120_000);
    assert.equal(await b.state(), 'lost');
    agent.network.network = 'up';
    await b.clock.advance(TTL_MS / 2);
    assert.equal(await b.state(), 'present');
    assert.equal(agent.seen.state?.counts.registrations, 2);
    assert.equal(agent.seen.state?.counts.losses, 1);
  });
}

test('a presence that was deleted under a living agent is back within a second', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.want();
  await b.clock.advance(0);
  const hold = agent.seen.state?.hold;
  assert.ok(hold);
  // The keep-alives go on: the lease is alive, only its key is gone, as after `etcdctl del --prefix`.
  await b.store.depart(hold, { ...record, sidecar: { version: '1', session: 's1' } }, never);
  assert.equal(await b.state(), 'lost');
  await b.clock.advance(1_000);
  assert.equal(await b.state(), 'present');
  assert.equal(agent.seen.state?.counts.losses, 1);
});

test('a presence that was deleted while the watch is silent is back within ten TTLs, although heartbeats succeed', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.network.deaf = true;
  agent.want();
  await b.clock.advance(0);
  const hold = agent.seen.state?.hold;
  assert.ok(hold);
  await b.store.depart(hold, { ...record, sidecar: { version: '1', session: 's1' } }, never);
  await b.clock.advance(TTL_MS);
  assert.equal(await b.state(), 'lost');
  await b.clock.advance(9 * TTL_MS);
  assert.equal(await b.state(), 'present');
  assert.deepEqual([agent.seen.state?.counts.losses, agent.seen.state?.counts.failedBeats], [1, 0]);
});

test('a broken watch is begun anew while writes are refused', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.want();
  await b.clock.advance(0);
  // The watch breaks at the change that it reads, and the update is refused from now on.
  agent.network.network = 'refuse';
  const hold = agent.seen.state?.hold;
  assert.ok(hold);
  await b.store.depart(hold, { ...record, sidecar: { version: '1', session: 's1' } }, never);
  await b.clock.advance(1_000);
  agent.network.network = 'up';
  agent.network.refused = ['update'];
  agent.want({ privateIpAddress: '10.0.0.9' });
  await b.clock.advance(3_000);
  assert.equal(await b.state(), 'present');
});

test('leaving departs with the cause and the ARN; the end says so', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.want();
  await b.clock.advance(5_000);
  agent.leaving.set(true);
  await b.clock.advance(0);
  assert.equal((await agent.ended).phase, 'departed');
  const { entry } = await b.store.readOne(record.ec2InstanceId, new AbortController().signal);
  assert.equal(entry?.presence, null);
  assert.equal(entry?.record.departure?.cause, 'stopped');
  assert.equal(entry?.record.containerInstanceArn, record.containerInstanceArn);
});

test('a departure after a notice has the notice as its cause', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  const interruption = { kind: 'spot-interruption', action: 'terminate', time: null };
  agent.want({ interruption });
  await b.clock.advance(5_000);
  agent.leaving.set(true);
  await b.clock.advance(0);
  await agent.ended;
  const { entry } = await b.store.readOne(record.ec2InstanceId, never);
  assert.equal(entry?.record.departure?.cause, 'spot-interruption');
  assert.deepEqual(entry?.record.interruption, interruption);
});

test('leaving while a heartbeat hangs does not wait for it', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.want();
  await b.clock.advance(0);
  agent.network.network = 'hang';
  await b.clock.advance(10_000);
  assert.equal(agent.network.calls.at(-1), 'renew');
  agent.network.network = 'up';
  agent.leaving.set(true);
  await b.clock.advance(0);
  assert.equal((await agent.ended).phase, 'departed');
});

test('leaving waits for a registration that is under way: nothing may be registered after the agent has ended', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  const answer = Promise.withResolvers<void>();
  const { register } = agent.network;
  agent.network.register = async (...args) => {
    await answer.promise;
    return register(...args);
  };
  agent.want();
  await b.clock.advance(1_000);
  agent.leaving.set(true);
  await b.clock.advance(1_000);
  answer.resolve();
  await b.clock.advance(0);
  assert.equal((await agent.ended).phase, 'departed');
  assert.equal(await b.state(), 'departed');
});

test('leaving while it is not known whether a registration was carried out ends what may be registered', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.network.loseAnswers = true;
  agent.want();
  await b.clock.advance(0);
  assert.equal(agent.seen.state?.phase, 'unregistered');
  assert.equal(await b.state(), 'present');
  agent.network.loseAnswers = false;
  agent.leaving.set(true);
  await b.clock.advance(0);
  assert.equal((await agent.ended).phase, 'departed');
  assert.equal(await b.state(), 'departed');
});

test('leaving does not wait for long for the answer to a registration, but ends what may be registered', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  const { register } = agent.network;
  agent.network.register = async (registration, sent, options) => {
    await register(registration, sent, options);
    return untilAborted(options.signal);
  };
  agent.want();
  await b.clock.advance(100);
  assert.equal(await b.state(), 'present');
  agent.leaving.set(true);
  await b.clock.advance(1_500);
  assert.equal((await agent.ended).phase, 'departed');
  assert.equal(await b.state(), 'departed');
});

test('leaving while the store cannot be reached, before anything was registered, is done at once', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.network.network = 'refuse';
  agent.want();
  await b.clock.advance(1_000);
  agent.leaving.set(true);
  await b.clock.advance(0);
  assert.equal((await agent.ended).phase, 'unregistered');
});

test('an agent that will be started again departs with the cause restart', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b, 's1', () => true);
  agent.want();
  await b.clock.advance(0);
  agent.leaving.set(true);
  await b.clock.advance(0);
  await agent.ended;
  const { entry } = await b.store.readOne(record.ec2InstanceId, never);
  assert.equal(entry?.record.departure?.cause, 'restart');
});

test('each line of the log reads well after what it says was done', async (t) => {
  const b = await bench(t);
  const lines: string[] = [];
  const add = (...args: unknown[]) => void lines.push(String(args.at(-1)));
  const log = createPublishLog({ info: add, warn: add, error: add } as unknown as Log);
  const agent = publish(t, b, 's1', () => false, log);
  agent.want();
  await b.clock.advance(0);
  agent.network.refused = ['renew'];
  await b.clock.advance(11_000);
  agent.network.refused = [];
  await b.clock.advance(10_000);
  const hold = agent.seen.state?.hold ?? assert.fail();
  const own = { ...record, sidecar: { version: '1', session: 's1' } };
  // Deletes the presence of the living agent: once, and again as soon as it is back.
  await b.store.depart(hold, own, never);
  await b.clock.advance(1_000);
  await b.store.depart(agent.seen.state?.hold ?? assert.fail(), own, never);
  await b.clock.advance(5_000);
  agent.leaving.set(true);
  await b.clock.advance(0);
  await agent.ended;
  assert.deepEqual(lines, [
    `registered ${record.ec2InstanceId}: the agent started`,
    'cannot send a heartbeat: connection refused; retrying',
    'the store answers again',
    'the registration was lost; registering again',
    `registered ${record.ec2InstanceId}: the registration was lost`,
    'cannot register: something removed the registration again; retrying',
    'the registration was lost; registering again',
    'the store answers again',
    `registered ${record.ec2InstanceId}: the registration was lost`,
    'departed: stopped',
  ]);
});

test('a heartbeat that is under way is not cut short by a change of the record, which is written after it', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.want();
  await b.clock.advance(0);
  const answer = Promise.withResolvers<void>();
  const { renew } = agent.network;
  let cut = false;
  agent.network.renew = async (hold, signal) => {
    await answer.promise;
    cut = signal.aborted;
    return renew(hold, signal);
  };
  await b.clock.advance(10_000);
  agent.want({ privateIpAddress: '10.0.0.9' });
  await b.clock.advance(1_000);
  assert.deepEqual(agent.network.calls, ['register']);
  answer.resolve();
  await b.clock.advance(0);
  assert.deepEqual([agent.network.calls, cut], [['register', 'renew', 'update'], false]);
});

test('a new session takes the registration over; the old one hears of it within a second, ends, and does not register again', async (t) => {
  const b = await bench(t);
  const old = publish(t, b, 'old');
  old.want();
  await b.clock.advance(0);
  const young = publish(t, b, 'young');
  young.want();
  await b.clock.advance(1_000);
  const last = await old.ended;
  assert.deepEqual([last.phase, last.supersededBy], ['superseded', 'young']);
  await b.clock.advance(300_000);
  assert.equal(await b.state(), 'present');
  assert.equal(young.seen.state?.counts.registrations, 1);
});

test('a session that was frozen while it lost its registration finds the new session and ends', async (t) => {
  const b = await bench(t);
  const old = publish(t, b, 'old');
  old.want();
  await b.clock.advance(0);
  old.network.network = 'hang';
  const young = publish(t, b, 'young');
  young.want();
  await b.clock.advance(90_000);
  old.network.network = 'up';
  await b.clock.advance(TTL_MS / 3);
  assert.equal((await old.ended).phase, 'superseded');
  assert.equal(await b.state(), 'present');
});

test('leaving does not wait for the pause after a failed heartbeat', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.want();
  await b.clock.advance(0);
  agent.network.network = 'refuse';
  // Long enough that the pauses have grown to seconds.
  await b.clock.advance(25_000);
  agent.network.network = 'up';
  agent.leaving.set(true);
  await b.clock.advance(0);
  assert.equal((await agent.ended).phase, 'departed');
});

test('an update whose answer was lost is made good, also when the record is back to what it was before', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.want();
  await b.clock.advance(0);
  agent.network.loseAnswers = true;
  agent.want({ containerInstanceArn: null });
  await b.clock.advance(0);
  agent.want();
  agent.network.loseAnswers = false;
  await b.clock.advance(5_000);
  const { entry } = await b.store.readOne(record.ec2InstanceId, new AbortController().signal);
  assert.equal(entry?.record.containerInstanceArn, record.containerInstanceArn);
});

test('heartbeats go on while writes are refused, and do not hide that they are', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.want();
  await b.clock.advance(0);
  agent.network.refused = ['update'];
  agent.want({ privateIpAddress: '10.0.0.9' });
  const errors = new Set<string | null>();
  for (let second = 0; second < 120; second += 1) {
    await b.clock.advance(1_000);
    errors.add(agent.seen.state?.trouble.error ?? null);
  }
  assert.deepEqual([...errors], ['connection refused'], 'one failure, reported without a break');
  assert.equal(await b.state(), 'present');
  const updates = agent.network.calls.filter((call) => call === 'update').length;
  assert.ok(updates < 60, `${updates} tries in two minutes: the pauses keep growing`);
});

test('a registration with a later start is believed only when its agent is alive: a clock set back must not end a node for good', async (t) => {
  const b = await bench(t);
  const dead = publish(t, b, 'dead');
  dead.want({ registeredAt: '2026-01-01T01:00:00.000Z' });
  await b.clock.advance(0);
  dead.network.network = 'hang';
  const young = publish(t, b, 'young');
  young.want();
  await b.clock.advance(0);
  assert.equal(young.seen.state?.phase, 'unregistered');
  await b.clock.advance(TTL_MS * 1.2);
  assert.equal(young.seen.state?.phase, 'held');

  const alive = publish(t, b, 'alive');
  alive.want({ registeredAt: '2026-01-01T01:00:00.000Z' });
  await b.clock.advance(TTL_MS);
  const earlier = publish(t, b, 'earlier');
  earlier.want();
  await b.clock.advance(TTL_MS * 1.2);
  assert.equal((await earlier.ended).phase, 'superseded');
  assert.equal(alive.seen.state?.phase, 'held');
});

test('the last record outlives its retention while updates are refused: its keep-alives go before them', async (t) => {
  const b = await bench(t);
  const retentionMs = 40 * TTL_MS;
  const agent = publish(t, { ...b, retentionMs });
  agent.network.deaf = true;
  agent.want();
  await b.clock.advance(0);
  agent.network.refused = ['update'];
  agent.want({ privateIpAddress: '10.0.0.9' });
  await b.clock.advance(1.5 * retentionMs);
  assert.ok(agent.network.calls.filter((call) => call === 'renewRetention').length >= 12);
  agent.network.refused = ['renewRetention'];
  await b.clock.advance(retentionMs / 8);
  agent.want({ privateIpAddress: '10.0.0.10' });
  await b.clock.advance(20_000);
  const { entry } = await b.store.readOne(record.ec2InstanceId, never);
  assert.equal(entry?.record.privateIpAddress, '10.0.0.10', 'nor does a refused keep-alive hold up an update');
});

test('a departure that is sent again is the same to the letter', async (t) => {
  const b = await bench(t);
  const agent = publish(t, b);
  agent.want();
  await b.clock.advance(0);
  agent.network.loseAnswers = true;
  agent.leaving.set(true);
  await b.clock.advance(0);
  const revision = await b.revision();
  agent.network.loseAnswers = false;
  await b.clock.advance(2_000);
  assert.equal((await agent.ended).phase, 'departed');
  assert.equal(await b.revision(), revision, 'nothing was written twice');
});

test('a fleet outlives an outage of its store: none is lost for longer than a TTL after it', async (t) => {
  const clock = simulatedClock();
  const random = seededRandom(7);
  const config = { kind: 'memory', label: 'memory:', name: randomUUID() } as const;
  const store = await openStore(config, { clock, random, create: true, signal: never });
  t.after(() => store.close());
  const stop = new AbortController();
  t.after(() => stop.abort());
  const network = flakyStore(store);
  network.deaf = true;
  // Of fewer, chance alone lets a fifth register in one second.
  const nodes = Math.max(200, fewerInQuickRun(1_000));
  for (let n = 0; n < nodes; n += 1) {
    const sidecar = { version: '1', session: `s${n}` };
    const own = sampleRecord({ ec2InstanceId: spreadInstanceId(n), sidecar });
    const desired = createCell<Desired | null>({ record: own, json: encodeRecord(own) });
    const leaving = createCell(false);
    const options = { store: network, clock, random, session: sidecar.session, ttlMs: TTL_MS, retentionMs: 86_400_000 };
    runPublisher({ ...options, desired, leaving, onStep: () => {} }, stop.signal).catch(() => {});
  }
  const present = async () => (await store.read(stop.signal)).entries.filter((entry) => entry.presence).length;
  await clock.advance(1_000);
  assert.equal(await present(), nodes);
  network.network = 'refuse';
  await clock.advance(60_000);
  assert.equal(await present(), 0);
  network.calls.length = 0;
  await clock.advance(TTL_MS);
  assert.ok(network.calls.length < 6 * nodes, `${network.calls.length} calls in a TTL without an answer`);
  network.network = 'up';
  network.calls.length = 0;
  let most = 0;
  for (let second = 0; second < TTL_MS / 1_000; second += 1) {
    const before = network.calls.filter((name) => name === 'register').length;
    await clock.advance(1_000);
    most = Math.max(most, network.calls.filter((name) => name === 'register').length - before);
  }
  assert.equal(await present(), nodes);
  assert.ok(most < nodes / 5, `${most} registrations in one second`);
});
