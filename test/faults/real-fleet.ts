import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type EtcdCluster, startEtcdCluster } from '../support/etcd-cluster.ts';
import { startMachineTimer, TURN_MS, until } from '../support/machine-time.ts';
import {
  agentUrl,
  getJson,
  type Running,
  rollcall,
  rollStates,
  startFleet,
  startRollcall,
} from '../support/rollcall-process.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { agree, type Consumer, consumer, jsonLines } from './consumers.ts';
import { overstay, wrongLeases } from './lease-check.ts';
import { openSampleWriter } from './sample-writer.ts';

const TTL_MS = 5_000;
/** What a dead node may stay present: its TTL and a second. */
const DEAD_MS = TTL_MS + 1_000;
/** From a restart of the agents' leases by a new leader: an election, and a TTL. */
const LEADER_MS = 8_000;
/** Between two samples, and for the answer to one. */
const SAMPLE_MS = 1_000;
const SLACK_MS = 2_000;
/** A process that starts or comes back takes so long until it is on the roll. */
const START_MS = 8_000;
/** A view that was cut off from the store has it again after this: the pauses between its attempts. */
const RETURN_MS = 1.1 * TTL_MS + 15_000;

/** A node, and what its roll entry has to be. All instants are in machine time. */
interface RealNode {
  readonly id: string;
  readonly environment: Record<string, string>;
  /** One, or for a while two. */
  agents: Running[];
  /** Its agents run, are dead or frozen, or have left. */
  is: 'alive' | 'dead' | 'left';
  sinceMs: number;
}

/** What one look at the roll showed: instance id → state; null: it says that it does not know. */
type States = Readonly<Record<string, string>> | null;

export interface RealRun {
  readonly agents: number;
  readonly seconds: number;
  readonly seed: number;
  readonly note: (line: string) => void;
}

export interface RealOutcome {
  readonly violations: readonly string[];
  readonly samples: number;
  readonly faults: Readonly<Record<string, number>>;
}

/**
 * Agents as processes of their own on three etcds, with faults, for so many seconds. Each second the roll, as `list`, an
 * agent's HTTP and a `watch` have it, is held against what is really there.
 */
export async function runRealFleet(t: TestContext, { agents, seconds, seed, note }: RealRun): Promise<RealOutcome> {
  const random = seededRandom(seed);
  const cluster = await startEtcdCluster(3);
  t.after(() => cluster.dispose());
  const store = `etcd://${cluster.endpoints.map((url) => new URL(url).host).join(',')}`;
  const fleet = await startFleet(t, agents);
  const timer = startMachineTimer();
  const ticking = setInterval(timer.tick, TURN_MS);
  t.after(() => clearInterval(ticking));
  const nowMs = () => timer.elapsedMs();
  const nodes: RealNode[] = [];
  const startAgent = ({ environment }: Pick<RealNode, 'environment'>) =>
    startRollcall(t, ['agent', '--store', store, '--presence-ttl', '5s', '--listen', '127.0.0.1:0'], environment);
  const mark = (node: RealNode, is: RealNode['is']) => Object.assign(node, { is, sinceMs: nowMs() });
  for (const [index, id] of fleet.instanceIds.entries()) {
    const environment = await fleet.environment(index + 1);
    const node: RealNode = { id, environment, agents: [], is: 'alive', sinceMs: nowMs() };
    nodes.push(node);
    node.agents = [startAgent(node)];
    // A few at a time: each takes half a second of a core to start.
    if (index % 2 === 1) await agentUrl(node.agents[0] as Running);
  }
  // The last one is asked, and so stays well.
  const [observer] = nodes.at(-1)?.agents ?? [];
  if (!observer) throw new Error('a fleet has at least one node');
  const url = await agentUrl(observer);
  const watch = startRollcall(t, ['watch', '--store', store, '--hold', 'off']);
  const told = consumer('rollcall watch', () => jsonLines(watch.stdout()));
  const all = async () => Object.values(await rollStates(store)).filter((state) => state === 'present').length;
  const wellOnes = ['list', '--health', 'passing', '--fields', 'instance', '--no-legend', '--store', store];
  const well = async () => (await rollcall(wellOnes)).stdout.split('\n').filter(Boolean).length;
  await until('all are on the roll', 120_000, async () => (await all()) === agents);

  const violations: string[] = [];
  const counts: Record<string, number> = {};
  /** When the store was last disturbed; while it is, that is now. */
  let storeMs = nowMs();
  let disturbances = 0;
  /** `view id` → since when it is not as it has to be. */
  const wrong = new Map<string, number>();
  let samples = 0;

  const views: Readonly<Record<string, () => Promise<States>>> = {
    list: () => rollStates(store),
    http: async () => {
      const { status, body } = await getJson(`${url}/v1/containerInstances?presence=present,lost,departed`);
      if (status !== 200 || body.stale) return null;
      return Object.fromEntries(
        body.containerInstances.map((node: { ec2InstanceId: string; presence: { state: string } }) => {
          return [node.ec2InstanceId, node.presence.state];
        }),
      );
    },
    watch: async () => statesOf(told),
  };

  const isAsItShould = ({ is }: RealNode, state: string | undefined) =>
    is === 'alive' ? state === 'present' : is === 'left' ? state === 'departed' : state !== 'present';

  /** For how long a node may be other than it should, counted from when all that is in its way was over. */
  function limitMs({ is }: RealNode): number {
    const afterStore = nowMs() - storeMs < RETURN_MS;
    if (is === 'dead') return DEAD_MS + (afterStore ? LEADER_MS : 0);
    return (is === 'alive' ? 1_000 : START_MS) + (afterStore ? RETURN_MS : 0);
  }

  async function look(name: string, view: () => Promise<States>): Promise<void> {
    let states: States = null;
    try {
      states = await view();
    } catch (error) {
      // In an outage it says so.
      if (nowMs() - storeMs > RETURN_MS) violations.push(`${name} fails while the store is well: ${String(error)}`);
    }
    const key = `${name} does not know the roll`;
    if (states !== null) wrong.delete(key);
    else if (!wrong.has(key)) wrong.set(key, nowMs());
    const unknownMs = nowMs() - Math.max(wrong.get(key) ?? nowMs(), storeMs);
    if (unknownMs > RETURN_MS) violations.push(`${key} for ${Math.round(unknownMs)} ms`);
    for (const node of states === null ? [] : nodes) {
      const isRight = isAsItShould(node, states?.[node.id]);
      const each = `${name} ${node.id}`;
      if (isRight) wrong.delete(each);
      else if (!wrong.has(each)) wrong.set(each, nowMs());
      const graceMs = node.is === 'alive' ? START_MS : 0;
      const from = Math.max(wrong.get(each) ?? nowMs(), node.sinceMs + graceMs);
      const forMs = nowMs() - from;
      if (!isRight && forMs > limitMs(node) + SAMPLE_MS + SLACK_MS) {
        violations.push(`${each} is ${states?.[node.id]} for ${Math.round(forMs)} ms, and its agent is ${node.is}`);
        wrong.delete(each);
      }
    }
  }

  /** The store is disturbed until `work` has ended. */
  async function disturb(work: () => Promise<void>): Promise<void> {
    disturbances += 1;
    try {
      await work();
    } finally {
      disturbances -= 1;
      storeMs = nowMs();
    }
  }

  const pick = () => nodes[Math.floor(random() * (nodes.length - 1))] as RealNode;
  const faults = faultsOf({ cluster, random, mark, startAgent, disturb, setFaults: fleet.setFaults });
  const names = Object.keys(faults);
  const running = new Set<Promise<void>>();
  const busy = new Set<RealNode>();
  const untilMs = performance.now() + seconds * 1_000;
  let storeFault: Promise<void> | null = null;
  const round: string[] = [];

  while (performance.now() < untilMs) {
    const startedMs = performance.now();
    if (disturbances > 0) storeMs = nowMs();
    // Every second or third second another fault, each kind in turn in an order of chance, and none in the last quarter minute.
    if (random() < 0.4 && performance.now() < untilMs - 15_000) {
      if (round.length === 0) round.push(...names.toSorted(() => random() - 0.5));
      const name = round.pop() as string;
      const fault = faults[name] as Fault;
      const node = pick();
      const isFree = fault.of === 'store' ? storeFault === null : !busy.has(node) && node.is === 'alive';
      if (isFree) {
        counts[name] = (counts[name] ?? 0) + 1;
        note(`${name} ${fault.of === 'node' ? node.id : ''}`);
        if (fault.of === 'node') busy.add(node);
        const run = fault.run(node).finally(() => {
          running.delete(run);
          busy.delete(node);
          if (fault.of === 'store') storeFault = null;
        });
        if (fault.of === 'store') storeFault = run;
        running.add(run);
      }
    }
    await Promise.all(Object.entries(views).map(([name, view]) => look(name, view)));
    samples += 1;
    await sleep(Math.max(0, SAMPLE_MS - (performance.now() - startedMs)));
  }
  await Promise.all(running);
  // In the end all are back, every reader has the store's roll, and nothing is written while nothing changes.
  // The last change of a node is that of its health, once its ecs-agent was seen to be well again and again.
  await until('all are well', 120_000, async () => (await well()) === agents, { everyMs: SAMPLE_MS });
  await agree([told], await openSampleWriter(t, cluster.endpoints));
  const revisionOf = async () => (await getJson(`${url}/v1/containerInstances`)).body.revision as string;
  const before = await revisionOf();
  await sleep(2 * TTL_MS);
  const after = await revisionOf();
  if (before !== after) violations.push(`revision ${before} became ${after} while nothing changed`);
  // While agents live, their leases alone show whether they keep the TTL; whether the store does is seen by a dead one.
  const leader = await cluster.leader();
  violations.push(...(await wrongLeases(leader, fleet.instanceIds, TTL_MS)));
  const [{ id, agents: last }] = nodes as [RealNode];
  const kill = async () => {
    for (const agent of last) agent.child.kill('SIGKILL');
    await Promise.all(last.map(({ ended }) => ended));
  };
  violations.push(...(await overstay(leader, id, TTL_MS, kill)));
  return { violations, samples, faults: counts };
}

function statesOf({ roll }: Consumer): States {
  return Object.fromEntries([...roll()].map(([id, { presence }]) => [id, presence.state]));
}

interface Fault {
  readonly of: 'node' | 'store';
  run(node: RealNode): Promise<void>;
}

interface FaultParts {
  readonly cluster: EtcdCluster;
  readonly random: () => number;
  readonly mark: (node: RealNode, is: RealNode['is']) => void;
  readonly startAgent: (node: RealNode) => Running;
  readonly disturb: (work: () => Promise<void>) => Promise<void>;
  readonly setFaults: (instanceId: string, faults: Record<string, string>) => Promise<void>;
}

/** Those of the simulation that can be done to processes. */
function faultsOf({ cluster, random, mark, startAgent, disturb, setFaults }: FaultParts): Record<string, Fault> {
  const for1To = (most: number) => sleep(1_000 + random() * (most * 1_000 - 1_000));
  const again = (node: RealNode) => {
    node.agents = [startAgent(node)];
    mark(node, 'alive');
  };
  const ofNode = (run: (node: RealNode, agent: Running) => Promise<void>): Fault => {
    return { of: 'node', run: (node) => run(node, node.agents[0] as Running) };
  };
  const ofStore = (run: () => Promise<void>): Fault => ({ of: 'store', run: () => disturb(run) });
  const stopped = async (pid: number, most: number) => {
    process.kill(pid, 'SIGSTOP');
    await for1To(most);
    process.kill(pid, 'SIGCONT');
  };
  /** Its client answers only while it runs: another one is asked. */
  const other = async () => {
    const leader = await cluster.leader();
    return cluster.members.find((member) => member !== leader) ?? leader;
  };
  return {
    crash: ofNode(async (node, agent) => {
      agent.child.kill('SIGKILL');
      await agent.ended;
      mark(node, 'dead');
      await for1To(15);
      again(node);
    }),
    stop: ofNode(async (node, agent) => {
      agent.child.kill('SIGTERM');
      await agent.ended;
      mark(node, 'left');
      await for1To(10);
      again(node);
    }),
    freeze: ofNode(async (node, agent) => {
      mark(node, 'dead');
      await stopped(agent.pid, 12);
      mark(node, 'alive');
    }),
    clone: ofNode(async (node, agent) => {
      const clone = startAgent(node);
      node.agents = [clone];
      // The earlier one ends by itself: it is superseded.
      await until('the earlier agent ends', RETURN_MS + 30_000, () => agent.child.exitCode !== null);
    }),
    'ecs-agent down': ofNode(async ({ id }) => {
      await setFaults(id, { introspection: 'refuse' });
      await for1To(10);
      await setFaults(id, { introspection: 'none' });
    }),
    'delete key': ofNode(async ({ id }) => {
      await cluster.members[0]?.etcdctl('del', `/rollcall/v1/presence/${id}`).catch(() => {});
    }),
    compact: ofNode(async () => {
      const [member] = cluster.members;
      const status = (await member?.etcdctl('endpoint', 'status', '-w', 'json').catch(() => '')) ?? '';
      const revision = /"revision":(\d+)/.exec(status)?.[1];
      if (revision) await member?.etcdctl('compact', revision).catch(() => {});
    }),
    'stop a member': ofStore(async () => {
      const member = await other();
      await member.stop();
      await for1To(8);
      await member.restart();
    }),
    'kill the leader': ofStore(async () => {
      const leader = await cluster.leader();
      await leader.stop();
      await for1To(8);
      await leader.restart();
    }),
    // Connections stay, and nothing is answered.
    'silent leader': ofStore(async () => stopped((await cluster.leader()).pid, 3)),
    // Another leads meanwhile, and this one revokes what was renewed there.
    'paused leader': ofStore(async () => {
      const { pid } = await cluster.leader();
      process.kill(pid, 'SIGSTOP');
      await sleep(TTL_MS + 2_000);
      process.kill(pid, 'SIGCONT');
    }),
    'pause a member': ofStore(async () => stopped((await other()).pid, 8)),
  };
}
