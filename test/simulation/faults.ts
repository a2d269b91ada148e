import { type Agent, PREFIX } from './agent.ts';
import { drain, lead } from './coordination.ts';
import type { Data } from './etcd/data.ts';
import type { Host } from './host.ts';
import { DEAD_AFTER_MS } from './network.ts';
import { type Fault, type FaultKind, LEADER, READERS } from './scenario.ts';
import type { Node, Watcher, World } from './world.ts';

/** A request to a slow store takes up to this much longer. */
export const MAX_SLOW_MS = 6_200;

/** Lets the faults of the scenario happen, each in its time. */
export function scheduleFaults(world: World, onFault: (fault: Fault, isOver: boolean) => void): void {
  const { scheduler, scenario } = world;
  for (const fault of scenario.faults) {
    const { atMs, forMs } = fault;
    let end = () => {};
    if (fault.kind === 'lose-second') {
      // What it goes back to has to be kept beforehand.
      scheduler.at(Math.max(atMs - 1_000, 0), () => {
        kept.set(fault, world.cluster.backup());
      });
    }
    if (fault.kind === 'restore') {
      scheduler.at(Math.max(atMs - fault.force * 600_000, 30_000), () => {
        kept.set(fault, world.cluster.backup());
      });
    }
    scheduler.at(atMs, () => {
      end = BEGIN[fault.kind](world, fault) ?? end;
      onFault(fault, false);
    });
    scheduler.at(atMs + forMs, () => {
      end();
      onFault(fault, true);
    });
  }
}

const kept = new WeakMap<Fault, Data>();

/** Begins the fault. @returns what ends it */
type Begin = (world: World, fault: Fault) => (() => void) | undefined;

/** null: the fault is of a reader's host, or of a node that was taken out of the scenario. */
function nodeOf({ nodes }: World, { host }: Fault): Node | null {
  return nodes[host] ?? null;
}

function back(world: World, node: Node): () => void {
  return () => {
    node.isOn = true;
    if (node.agents.length === 0) world.startNode(node);
  };
}

function killAgent({ scheduler }: World, node: Node, agent: Agent) {
  node.agents.splice(node.agents.indexOf(agent), 1);
  node.touchedAtMs.set(agent.session, scheduler.nowMs());
  agent.process.kill();
}

/**
 * A reader's process ends without a word, and another goes on from its cursor; from a snapshot where the store was restored
 * and this process had no roll of it yet.
 */
function restartWatcher(world: World, { host }: Fault): (() => void) | undefined {
  const watcher = world.watchers[host - READERS];
  if (!watcher?.agent) return undefined;
  watcher.agent.process.kill();
  watcher.agent = null;
  if (watcher.reader.epoch() !== world.truth.epoch()) forgetCursors(watcher);
  return () => {
    if (watcher.agent === null) world.startWatcher(watcher);
  };
}

/** Its newest agent leaves and another starts when the fault is over. */
function leave(again: boolean): Begin {
  return (world, fault) => {
    const node = nodeOf(world, fault);
    if (!node?.isOn) return undefined;
    node.isOn = false;
    for (const agent of node.agents) agent.leave(again);
    return back(world, node);
  };
}

function pickMember({ cluster }: World, { member, force }: Fault): number {
  if (member === LEADER) return cluster.leader() ?? Math.floor(force * cluster.size) % cluster.size;
  return member % cluster.size;
}

/** Cuts or disturbs the links that the fault names: of one host to one member or all. */
function onLinks(
  world: World,
  { host, member, force }: Fault,
  hosts: 'one' | 'some',
  act: (hostName: string, member: number) => void,
): void {
  const { scenario, cluster } = world;
  const some = world.hosts.filter((each, index) =>
    hosts === 'one' ? each === hostAt(world, host) : ((index * 2_654_435_761 + scenario.seed) >>> 0) / 2 ** 32 < force,
  );
  for (const { name } of some) {
    // With a force of less than a half it is a single member that cannot be reached.
    for (let index = 0; index < cluster.size; index += 1) {
      if (hosts === 'some' || force >= 0.5 || index === Math.max(member, 0) % cluster.size) act(name, index);
    }
  }
}

function cut(how: 'silent' | 'refused', hosts: 'one' | 'some'): Begin {
  return (world, fault) => {
    onLinks(world, fault, hosts, (name, member) => world.network.cut(name, member, how));
    return () => onLinks(world, fault, hosts, (name, member) => world.network.cut(name, member, null));
  };
}

/** A member that does not answer pings is hung up on. */
function hangUpIf(world: World, member: number, is: 'paused' | 'isolated') {
  world.scheduler.after(DEAD_AFTER_MS, () => {
    if (world.cluster.state(member) === is) world.network.hangUp(member);
  });
}

function hostOf(world: World, { host }: Fault): Host | null {
  return hostAt(world, host);
}

/** null: it was taken out of the scenario. */
function hostAt({ nodes, watchers }: World, index: number): Host | null {
  return (index < READERS ? nodes[index] : watchers[index - READERS])?.host ?? null;
}

const BEGIN: Readonly<Record<FaultKind, Begin>> = {
  crash(world, fault) {
    const node = nodeOf(world, fault);
    if (!node) return restartWatcher(world, fault);
    if (!node.isOn) return undefined;
    node.isOn = false;
    for (const agent of [...node.agents]) killAgent(world, node, agent);
    return back(world, node);
  },
  reboot(world, fault) {
    const node = nodeOf(world, fault);
    if (!node) return restartWatcher(world, fault);
    if (!node.isOn) return undefined;
    node.isOn = false;
    for (const agent of [...node.agents]) killAgent(world, node, agent);
    node.host.reboot();
    return back(world, node);
  },
  restart: leave(true),
  stop: leave(false),
  terminate(world, fault) {
    const node = nodeOf(world, fault);
    if (!node?.isOn) return undefined;
    const at = new Date(node.host.wallMs() + 120_000).toISOString();
    for (const agent of node.agents) {
      agent.change({ interruption: { kind: 'spot-interruption', action: 'terminate', time: at } });
    }
    // The notice comes first, and the end a moment later.
    world.scheduler.after(Math.min(5_000, fault.forMs / 2), () => {
      node.isOn = false;
      for (const agent of node.agents) agent.leave(false);
    });
    return back(world, node);
  },
  freeze(world, fault) {
    const host = hostOf(world, fault);
    if (!host || host.isFrozen()) return undefined;
    host.freeze();
    return () => host.thaw();
  },
  clone(world, fault) {
    const node = nodeOf(world, fault);
    if (!node?.isOn || node.agents.length !== 1) return undefined;
    const clone = world.startNode(node);
    return () => {
      // The one or the other may have ended by itself.
      if (node.agents.includes(clone) && node.agents.length > 1) {
        killAgent(world, node, clone);
      }
      if (node.isOn && node.agents.length === 0) world.startNode(node);
    };
  },
  'jump-wall'(world, fault) {
    hostOf(world, fault)?.jumpWall((fault.force - 0.5) * 7_200_000);
    return undefined;
  },
  drift(world, fault) {
    const host = hostOf(world, fault);
    host?.drift(1 + (fault.force - 0.5) * 0.002);
    return () => host?.drift(1);
  },
  change(world, fault) {
    const node = nodeOf(world, fault);
    for (const agent of node?.agents ?? []) {
      if (fault.force < 0.5) agent.change({ labels: { role: `changed-${fault.atMs}` } });
      else agent.change({ privateIpAddress: `10.1.0.${Math.floor(fault.force * 250)}` });
    }
    return undefined;
  },
  drain: coordinate(drain),
  lead: coordinate(lead),
  cut: cut('silent', 'one'),
  refuse: cut('refused', 'one'),
  'cut-all': cut('silent', 'some'),
  loss(world, fault) {
    const hosts = fault.force > 0.8 ? 'some' : 'one';
    onLinks(world, fault, hosts, (name, member) => world.network.setLoss(name, member, 0.3 * fault.force));
    return () => onLinks(world, fault, hosts, (name, member) => world.network.setLoss(name, member, 0));
  },
  'stop-member'(world, fault) {
    const member = pickMember(world, fault);
    if (world.cluster.state(member) !== 'up') return undefined;
    world.cluster.stop(member);
    world.network.hangUp(member);
    return () => {
      if (world.cluster.state(member) === 'down') world.cluster.start(member);
    };
  },
  'stop-store'(world) {
    for (let member = 0; member < world.cluster.size; member += 1) {
      world.cluster.stop(member);
      world.network.hangUp(member);
    }
    return () => {
      for (let member = 0; member < world.cluster.size; member += 1) {
        if (world.cluster.state(member) === 'down') world.cluster.start(member);
      }
    };
  },
  pause(world, fault) {
    const member = pickMember(world, fault);
    if (world.cluster.state(member) !== 'up') return undefined;
    world.cluster.pause(member);
    hangUpIf(world, member, 'paused');
    return () => {
      if (world.cluster.state(member) === 'paused') world.cluster.resume(member, fault.force < 0.7);
    };
  },
  isolate(world, fault) {
    const member = pickMember(world, fault);
    if (world.cluster.size === 1 || world.cluster.state(member) !== 'up') return undefined;
    world.cluster.isolate(member);
    return () => {
      if (world.cluster.state(member) === 'isolated') world.cluster.rejoin(member);
    };
  },
  lag(world, fault) {
    const member = Math.max(fault.member, 0) % world.cluster.size;
    world.cluster.setLag(member, 200 + fault.force * 8_000);
    return () => world.cluster.setLag(member, 0);
  },
  slow(world, fault) {
    world.cluster.setSlow(200 + fault.force ** 2 * (MAX_SLOW_MS - 200));
    return () => world.cluster.setSlow(0);
  },
  full(world) {
    world.cluster.setFull(true);
    return () => world.cluster.setFull(false);
  },
  'move-leader'(world) {
    world.cluster.moveLeader();
    return undefined;
  },
  compact(world) {
    world.cluster.compact();
    return undefined;
  },
  'delete-key'(world, fault) {
    const node = nodeOf(world, fault);
    if (!node || world.cluster.leader() === null) return undefined;
    const keys = [`v1/presence/${node.instanceId}`, `v1/records/${node.instanceId}`];
    world.cluster.foreignDelete(
      keys.filter((_, index) => index === 0 || fault.force > 0.7).map((key) => `${PREFIX}/${key}`),
    );
    return undefined;
  },
  'lose-second': restored,
  restore: restored,
};

/** A few agents at a time want the same. */
function coordinate(work: typeof drain): Begin {
  return (world, fault) => {
    let isOver = false;
    for (let n = 0; n < 3; n += 1) {
      const agent = world.nodes[(fault.host + n) % world.nodes.length]?.agents[0];
      if (!agent || agent.isLeaving()) continue;
      work(agent, () => isOver).catch((error: unknown) => world.fail('nothing breaks', String(error)));
    }
    return () => {
      isOver = true;
    };
  };
}

function restored(world: World, fault: Fault): undefined {
  const data = kept.get(fault);
  if (!data) return undefined;
  for (let member = 0; member < world.cluster.size; member += 1) world.network.hangUp(member);
  world.cluster.restore(data);
  // As docs/events.md has it: a consumer that had not read this store since it was started is started without its cursor.
  for (const watcher of world.watchers) {
    const { agent } = watcher;
    if (agent !== null && agent.registry.status().snapshots > 0) continue;
    forgetCursors(watcher);
    if (agent === null) continue;
    agent.process.kill();
    world.startWatcher(watcher);
  }
  return undefined;
}

function forgetCursors({ reader, held }: Watcher) {
  reader.forgetCursor();
  held.forgetCursor();
}

/** What is disturbed while the fault goes on: everything, one host, or nothing. */
export function reachOf(world: World, { kind, host, force }: Fault): Host | 'all' | null {
  switch (kind) {
    case 'change':
    case 'drain':
    case 'lead':
    case 'compact':
    // What is deleted has to be put back, and nothing is in the way of that.
    case 'delete-key':
      return null;
    case 'loss':
      return force > 0.8 ? 'all' : hostAt(world, host);
    case 'cut-all':
    case 'stop-member':
    case 'stop-store':
    case 'pause':
    case 'isolate':
    case 'lag':
    case 'slow':
    case 'full':
    case 'move-leader':
    case 'lose-second':
    case 'restore':
      return 'all';
    default:
      return hostAt(world, host);
  }
}
