import { spreadInstanceId } from '../support/sample-record.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { type Agent, openRegistry, openStore, type Parts, startAgent } from './agent.ts';
import { type Cluster, createCluster } from './etcd/cluster.ts';
import type { Revision } from './etcd/data.ts';
import { createHeldReader, type HeldReader } from './held-reader.ts';
import { createHost, type Host } from './host.ts';
import { createNetwork, type Network } from './network.ts';
import { createReader, type Reader } from './reader.ts';
import type { Scenario } from './scenario.ts';
import { createScheduler, type Scheduler } from './scheduler.ts';
import { createTruth, type Truth } from './truth.ts';

/** A host of a node, with the agents on it: one, or for a while two. */
export interface Node {
  readonly instanceId: string;
  readonly host: Host;
  /** Those whose process runs. */
  readonly agents: Agent[];
  /** The host runs, and an agent belongs on it. */
  isOn: boolean;
  /** Sessions that ran here, with when each was last able to reach the store. */
  readonly touchedAtMs: Map<string, number>;
  /** When each of them started, by the clock of the host. */
  readonly startedAt: Map<string, string>;
}

/** A host from which the roll is watched. */
export interface Watcher {
  readonly host: Host;
  readonly reader: Reader;
  readonly held: HeldReader;
  agent: { readonly process: Agent['process']; readonly registry: Agent['registry'] } | null;
}

/** Everything that a scenario runs, and what it really is like. */
export interface World {
  readonly scenario: Scenario;
  readonly scheduler: Scheduler;
  readonly cluster: Cluster;
  readonly network: Network;
  readonly truth: Truth;
  readonly nodes: readonly Node[];
  readonly watchers: readonly Watcher[];
  /** The hosts of nodes and then those of watchers. */
  readonly hosts: readonly Host[];
  readonly random: () => number;
  startNode(node: Node): Agent;
  startWatcher(watcher: Watcher): void;
  fail(invariant: string, text: string): void;
  violation(): Violation | null;
  /** Hears of each revision. */
  onCommit: (revision: Revision, by: string) => void;
  onLeader: () => void;
  onEnd: (node: Node, agent: Agent) => void;
}

export interface Violation {
  readonly atMs: number;
  readonly invariant: string;
  readonly text: string;
}

export function createWorld(scenario: Scenario, parts: Parts): World {
  const { seed, members, ttlMs } = scenario;
  // Each part has chances of its own, so that one node fewer leaves the others what they had.
  const chances = (name: string) => {
    let mixed = seed;
    for (const letter of name) mixed = Math.imul(mixed ^ letter.charCodeAt(0), 0x01000193);
    return seededRandom(mixed);
  };
  const scheduler = createScheduler();
  const { nowMs } = scheduler;
  const truth = createTruth(nowMs);
  let violation: Violation | null = null;
  const cluster = createCluster(members, scheduler, chances('etcd'), {
    onCommit(revision, by) {
      truth.onCommit(revision);
      world.onCommit(revision, by);
    },
    onLeader: () => world.onLeader(),
    onRestored: () => truth.onRestored(cluster.data()),
  });
  const network = createNetwork(scheduler, chances('network'), cluster);
  const fail = (invariant: string, text: string) => {
    violation ??= { atMs: nowMs(), invariant, text };
  };
  const nodes = Array.from({ length: scenario.nodes }, (_, n): Node => {
    const host = createHost(`node-${n}`, scheduler);
    const [touchedAtMs, startedAt] = [new Map(), new Map()];
    return { instanceId: spreadInstanceId(n), host, agents: [], isOn: true, touchedAtMs, startedAt };
  });
  const watchers = Array.from({ length: scenario.readers }, (_, n): Watcher => {
    const host = createHost(`reader-${n}`, scheduler);
    const held = createHeldReader(`held reader ${n}`, parts.holdLosses, fail);
    return { host, reader: createReader(`reader ${n}`, truth, nowMs, fail), held, agent: null };
  });
  let sessions = 0;
  const common = { parts, network, members, ttlMs, nowMs };

  const world: World = {
    scenario,
    scheduler,
    cluster,
    network,
    truth,
    nodes,
    watchers,
    hosts: [...nodes, ...watchers].map(({ host }) => host),
    random: chances('faults'),
    startNode(node) {
      sessions += 1;
      const session = `${node.host.name}-s${sessions}`;
      const index = nodes.indexOf(node);
      const agent = startAgent({
        ...common,
        host: node.host,
        random: chances(session),
        instanceId: node.instanceId,
        session,
        address: `10.0.${index >> 8}.${index & 255}`,
        onEnd(ended) {
          node.agents.splice(node.agents.indexOf(ended), 1);
          world.onEnd(node, ended);
        },
      });
      node.agents.push(agent);
      node.touchedAtMs.set(session, nowMs());
      node.startedAt.set(session, agent.record().registeredAt);
      return agent;
    },
    startWatcher(watcher) {
      sessions += 1;
      const process = watcher.host.start();
      const random = chances(`${watcher.host.name} ${sessions}`);
      const options = { ...common, host: watcher.host, random };
      const registry = openRegistry(options, openStore(options, process), process);
      watcher.agent = { process, registry };
      watcher.reader.follow(registry, process);
      watcher.held.follow(registry, process);
    },
    fail,
    violation: () => violation,
    onCommit: () => {},
    onLeader: () => {},
    onEnd: () => {},
  };
  return world;
}
