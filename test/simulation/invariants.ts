import type { Agent } from './agent.ts';
import { ELECTION_MS } from './etcd/leader.ts';
import { MAX_SLOW_MS, reachOf } from './faults.ts';
import type { Process } from './host.ts';
import type { Count, LinkState } from './network.ts';
import { CALM_MINUTES, calmSinceMs, type Fault, isStormy } from './scenario.ts';
import { entryDigest } from './truth.ts';
import type { Node, Watcher, World } from './world.ts';

/** How often everything is looked at. What has to be exact is looked at when it changes. */
const SWEEP_MS = 1_000;
/** Within this a change is seen where nothing is in its way. */
const PROMPT_MS = 1_000;
/** What is in nothing's way has been so for this long: a client that met trouble may still wait. */
const CLEAR_MS = 30_000;
/** On top of a TTL, for a node that comes back from trouble. */
const RETURN_MS = 15_000;
/** For a reader that comes back from trouble: the silence of a watch, a snapshot and the pauses between. */
const READER_RETURN_MS = 60_000;
/** A packet that was lost arrives within this. */
const RESENT_MS = 8_000;

const MAX_CALLS = 16;
const MAX_SLEEPS = 60;
const MAX_TIMERS_EACH = 80;
/** Each call of an agent is tried at each member: 27 calls of one that leads are 81 requests where three members are down. */
const MAX_REQUESTS_IN_10_S = 90;
/** A reader that sees a loss asks about 32 presences, every 200 ms at the most. */
const MAX_READER_REQUESTS_IN_10_S = 1_700;

/** One sweep in so many looks at settled nodes: what changes them says so, and this is for what would not. */
const FULL_SWEEPS = 10;

interface NodeWatch {
  readonly node: Node;
  readonly index: number;
  /** The agent that was on the roll, with its newest record, when it was last looked at; null: look closer. */
  settled: Agent | null;
  /** The presence is not that of a living agent since then; null: it is. */
  missingSinceMs: number | null;
  /** The presence has to be back by then; null: nothing was removed. */
  promptUntilMs: number | null;
  /** Agents that were seen. */
  readonly known: Set<Agent>;
}

/** Holds the world against what rollcall promises, while it runs. The first promise that is broken ends the simulation. */
export function watchInvariants(world: World): { readonly onFault: (fault: Fault, isOver: boolean) => void } {
  const { scenario, scheduler, cluster, network, truth, fail } = world;
  const { nowMs } = scheduler;
  const { ttlMs } = scenario;
  /** When the store was last disturbed, and each host by itself. */
  let storeDisturbedMs = 0;
  const disturbedMs = world.hosts.map(() => 0);
  const lossyMs = world.hosts.map(() => Number.NEGATIVE_INFINITY);
  /** Since when a link of the host has been cut or lossy; null: none is. */
  const unclearSinceMs: (number | null)[] = world.hosts.map(() => null);
  /** Since when the host reaches a store that works; null: it does not. */
  const reachSinceMs: (number | null)[] = world.hosts.map(() => 0);
  const watches = new Map<Node, NodeWatch>();
  const equalAtMs = new Map<Watcher, number>();
  const sentBefore = world.hosts.map(() => 0);
  const requestsOf = world.hosts.map(({ name }) => network.requestsOf(name));
  const linksOf = world.hosts.map(({ name }) => network.linksOf(name));
  let quiet: { readonly fromMs: number; readonly writes: number } | null = null;
  let sweeps = 0;

  const nodeWatches = world.nodes.map((node, index): NodeWatch => {
    return { node, index, settled: null, missingSinceMs: null, promptUntilMs: null, known: new Set() };
  });
  for (const watch of nodeWatches) watches.set(watch.node, watch);
  /** Those that are not settled: a sweep looks at each of them. */
  const loose = new Set(nodeWatches);
  const byInstanceId = new Map(nodeWatches.map((watch) => [watch.node.instanceId, watch]));
  const watchOf = (node: Node) => watches.get(node) as NodeWatch;
  const members = Array.from({ length: cluster.size }, (_, member) => member);
  const worksWell = (member: number) => cluster.state(member) === 'up' && cluster.lagMs(member) === 0;
  const storeIsWell = () => cluster.leader() !== null && !cluster.isImpaired() && members.every(worksWell);

  /** Nothing has been in the way of the host for so long. */
  const clearForMs = (index: number) => nowMs() - Math.max(storeDisturbedMs, disturbedMs[index] ?? 0);

  /** Hosts that had trouble when they were last looked at. */
  const troubled = new Set<number>();
  /** How the store was when it was last looked at, and each of its members. */
  let wasWell = false;
  let answered = false;
  const worked = members.map(() => false);

  /** @returns whether nothing is amiss, now or when it was last looked at */
  function takeInStore(): boolean {
    const before = wasWell;
    for (const member of members) worked[member] = worksWell(member);
    answered = cluster.leader() !== null && !cluster.isImpaired();
    wasWell = answered && !worked.includes(false);
    return wasWell && before;
  }

  function takeInHosts() {
    for (let index = 0; index < world.hosts.length; index += 1) takeIn(index);
  }

  function takeIn(index: number) {
    const host = world.hosts[index];
    if (!host) return;
    const isFrozen = host.isFrozen();
    let isClear = true;
    let reaches = false;
    const links = linksOf[index] ?? [];
    for (let member = 0; member < links.length; member += 1) {
      const { cut, loss } = links[member] as LinkState;
      if (cut !== null || loss > 0) isClear = false;
      else if (worked[member]) reaches = answered && !isFrozen;
    }
    if (!isClear || isFrozen) {
      disturbedMs[index] = nowMs();
      troubled.add(index);
    } else {
      troubled.delete(index);
    }
    if (!isClear) {
      lossyMs[index] = nowMs();
      unclearSinceMs[index] ??= nowMs();
    }
    if (reaches) {
      reachSinceMs[index] ??= nowMs();
      return;
    }
    reachSinceMs[index] = null;
    const watch = nodeWatches[index];
    if (watch) unsettleOne(watch);
  }

  function sweep() {
    scheduler.after(SWEEP_MS, sweep);
    sweeps += 1;
    const isSame = takeInStore();
    if (!wasWell) storeDisturbedMs = nowMs();
    if (!answered) leasesDisturbedMs = Math.max(leasesDisturbedMs, nowMs());
    // The trouble of a host begins and ends with a fault, which looks at all of them.
    if (!isSame) takeInHosts();
    else for (const index of troubled) takeIn(index);
    const isFull = sweeps % FULL_SWEEPS === 0;
    for (const watch of isFull ? nodeWatches : loose) checkNode(watch);
    for (const [index, watcher] of world.watchers.entries()) checkWatcher(watcher, world.nodes.length + index);
    if (sweeps % 10 === 0) checkBounds();
    checkQuiet();
  }

  /** What the host sends may arrive somewhere. */
  function canReach(index: number): boolean {
    const links = linksOf[index] ?? [];
    for (let member = 0; member < links.length; member += 1) {
      if (links[member]?.cut === null && cluster.state(member) !== 'down') return true;
    }
    return false;
  }

  /** @param isHeld what a frozen process sent before arrives only now */
  function touchAll({ host, agents, touchedAtMs }: Node, index: number, isHeld = false) {
    if ((host.isFrozen() && !isHeld) || !canReach(index)) return;
    for (const { session } of agents) touchedAtMs.set(session, nowMs());
  }

  /** An agent that is to be on the roll: its process moves, and it does not leave. */
  const belongs = (agent: Agent) => agent.process.isAlive() && !agent.host.isFrozen() && !agent.isLeaving();

  function checkNode(watch: NodeWatch) {
    const { node, index, settled } = watch;
    const { host, agents, touchedAtMs, instanceId } = node;
    // Whatever changes that clears it.
    if (settled && reachSinceMs[index] !== null && agents.length === 1 && agents[0] === settled) {
      if (!settled.isLeaving() && settled.changedAtMs() < nowMs() - SWEEP_MS) return;
    }
    settle(watch, null);
    const stored = truth.nodes.get(instanceId);
    const presence = stored?.presence ?? null;
    for (const agent of agents) if (!watch.known.has(agent)) onStart(node, index, agent, presence !== null);
    touchAll(node, index);

    if (presence !== null) {
      const touched = touchedAtMs.get(presence.session) ?? 0;
      const lossy = lossyMs[index] ?? 0;
      const lateMs = lossy > touched - RESENT_MS ? RESENT_MS : 0;
      const deadMs = nowMs() - Math.max(touched + lateMs, leasesDisturbedMs, leasesRestartMs);
      if (deadMs > ttlMs + PROMPT_MS) {
        fail('no dead node stays present', `${host.name}: session ${presence.session} has been dead for ${deadMs} ms`);
      }
    }

    const expected = agents.every(belongs) ? agents : agents.filter(belongs);
    const own = expected.find(({ session }) => session === presence?.session);
    if (expected.length === 0 || own) watch.missingSinceMs = null;
    else watch.missingSinceMs ??= nowMs();
    if (expected.length === 0) watch.promptUntilMs = null;
    const { promptUntilMs, missingSinceMs } = watch;
    if (promptUntilMs !== null && nowMs() > promptUntilMs && missingSinceMs !== null) {
      fail('a living node that was removed is back within a second', `${host.name} is not back`);
    }
    const reachMs = reachSinceMs[index];
    if (reachMs === null || reachMs === undefined) return;
    const limitMs = 1.1 * ttlMs + RETURN_MS;
    const [first] = expected;
    if (missingSinceMs !== null && first) {
      const forMs = nowMs() - Math.max(missingSinceMs, reachMs, first.startedAtMs);
      const { phase, trouble, contestedBy } = first.state();
      // As below, where a dead one looks later by the node's clock.
      const askedLateMs = contestedBy !== null && first.startedAtMs < reachMs ? ttlMs / 2 : 0;
      if (forMs > limitMs + askedLateMs) {
        fail('no living node is missing', `${host.name}: for ${forMs} ms; its agent is ${phase}, ${trouble.error}`);
      }
    }
    // After an outage the earlier one may pause for half a TTL before it asks again, and then waits for a TTL whether the
    // other one lives.
    const pausedMs = expected.every(({ startedAtMs }) => startedAtMs < reachMs) ? ttlMs / 2 : 0;
    const isLongAlive = (agent: Agent) => nowMs() - Math.max(agent.startedAtMs, reachMs) > limitMs + pausedMs;
    if (expected.length > 1 && expected.filter(isLongAlive).length > 1) {
      fail('one node, one registration', `${host.name}: ${expected.map(({ session }) => session)} go on`);
    }
    if (!own) return;
    const sinceMs = Math.max(reachMs, stored?.changedAtMs ?? 0, leasesRestartMs);
    if (isPublished(watch, own, sinceMs) && expected.length === 1) settle(watch, own);
  }

  /** Whether the store has the agent's newest record. */
  function isPublished({ node: { instanceId, host }, index }: NodeWatch, agent: Agent, sinceMs: number): boolean {
    const record = truth.nodes.get(instanceId)?.record ?? null;
    const wanted = entryDigest({ record: agent.record(), presence: null });
    if (record !== null && entryDigest({ record, presence: null }) === wanted) return true;
    const forMs = nowMs() - Math.max(sinceMs, agent.changedAtMs());
    const isPrompt = clearForMs(index) > CLEAR_MS + forMs && agent.state().trouble.error === null;
    if (forMs > (isPrompt ? PROMPT_MS + SWEEP_MS : 2 * ttlMs + RETURN_MS)) {
      fail('a change of the record is published', `${host.name}: not within ${forMs} ms`);
    }
    return false;
  }

  function onStart(node: Node, index: number, agent: Agent, isPresent: boolean) {
    const watch = watchOf(node);
    watch.known.add(agent);
    for (const known of watch.known) if (!known.process.isAlive()) watch.known.delete(known);
    if (!isPresent && clearForMs(index) > CLEAR_MS) watch.promptUntilMs = agent.startedAtMs + PROMPT_MS;
  }

  /** From when all leases last began anew: a new leader adds the time of an election. */
  let leasesRestartMs = 0;
  /**
   * Up to when a lease may be renewed though its agent is dead, or not end though it is over: while there is no leader, or
   * it is slow. A member that is down, cut off or behind does neither.
   */
  let leasesDisturbedMs = 0;

  world.onCommit = ({ changes }, by) => {
    for (const { key, now, previous } of changes) {
      unsettle(key);
      const [, id] = /\/v1\/presence\/(.+)$/.exec(key) ?? [];
      const watch = id === undefined ? undefined : byInstanceId.get(id);
      if (!watch) continue;
      const { node, index } = watch;
      if (now !== null) {
        if (watch.promptUntilMs !== null && nowMs() > watch.promptUntilMs) {
          const lateMs = nowMs() - watch.promptUntilMs;
          fail('a living node that was removed is back within a second', `${node.host.name}: ${lateMs} ms too late`);
        }
        watch.promptUntilMs = null;
        continue;
      }
      if (previous === null || by === node.host.name) continue;
      const agent = node.agents.find(({ session }) => previous.value.includes(`"${session}"`));
      if (!agent || !belongs(agent)) continue;
      const { phase, trouble } = agent.state();
      const isWatched = network.watching(agent.process).some(worksWell);
      if (phase !== 'held' || trouble.error !== null || !isWatched || !storeIsWell()) continue;
      if (nowMs() - (disturbedMs[index] ?? 0) < CLEAR_MS) continue;
      // What is removed again and again comes back more slowly, or the agent would write at the speed of the network.
      const removals = truth.nodes.get(node.instanceId)?.removedAtMs ?? [];
      const isAgain = removals.length > 1 && nowMs() - (removals.at(-2) ?? 0) < ttlMs / 3 + 2 * PROMPT_MS;
      watch.promptUntilMs = nowMs() + PROMPT_MS + (isAgain ? ttlMs / 6 : 0);
    }
  };

  function settle(watch: NodeWatch, agent: Agent | null) {
    watch.settled = agent;
    if (agent === null) loose.add(watch);
    else loose.delete(watch);
  }

  /** The node of the key is looked at closer. */
  function unsettle(key: string) {
    const watch = byInstanceId.get(key.slice(key.lastIndexOf('/') + 1));
    if (watch) unsettleOne(watch);
  }

  function unsettleOne(watch: NodeWatch) {
    touch(watch);
    settle(watch, null);
  }

  function touch({ settled, node }: NodeWatch) {
    if (settled?.process.isAlive()) node.touchedAtMs.set(settled.session, nowMs());
  }

  world.onLeader = () => {
    storeDisturbedMs = nowMs();
    leasesRestartMs = nowMs() + ELECTION_MS;
  };

  world.onEnd = (node, agent) => {
    const { host, instanceId, touchedAtMs, startedAt } = node;
    settle(watchOf(node), null);
    const end = agent.end();
    if (end?.kind === 'broken') fail('nothing breaks', `${host.name}: ${String(end.error)}`);
    if (end?.kind !== 'ended') return;
    const { phase, supersededBy, hold } = end.state;
    if (phase === 'superseded') {
      // Nothing excuses that, nor does a restored backup: it has the presences of sessions that are dead.
      const [own, other] = [agent.record().registeredAt, startedAt.get(supersededBy ?? '') ?? ''];
      if (Date.parse(other) < Date.parse(own)) {
        fail('the newest start wins', `${host.name}: by ${supersededBy}, which started at ${other}, and it at ${own}`);
      }
      const isAlive = node.agents.some(({ session, process }) => session === supersededBy && process.isAlive());
      // The sweep may not have looked since its host moves again.
      const touched =
        isAlive && !host.isFrozen() ? nowMs() : (touchedAtMs.get(supersededBy ?? '') ?? Number.NEGATIVE_INFINITY);
      if (nowMs() - touched > 2.2 * ttlMs + RETURN_MS && nowMs() - storeDisturbedMs > 2.2 * ttlMs + RETURN_MS) {
        fail(
          'only a living agent supersedes',
          `${host.name}: by ${supersededBy}, last alive ${nowMs() - touched} ms ago`,
        );
      }
    }
    const stored = truth.nodes.get(instanceId);
    if (phase !== 'departed' || hold === null || stored?.record?.sidecar.session !== agent.session) return;
    const { interruption } = agent.record();
    const causes = interruption ? [interruption.kind] : ['stopped', 'restart'];
    const cause = stored.record.departure?.cause;
    // A departure that was sent stays as it is, whatever is announced before its answer.
    const isKept = cause !== undefined && (causes.includes(cause) || cause === agent.causeToLeave());
    if (stored.presence !== null || !isKept) {
      fail('departures keep their cause', `${host.name}: it left, and the store says ${cause ?? 'nothing'}`);
    }
  };

  function checkWatcher(watcher: Watcher, index: number) {
    const { reader, agent, host } = watcher;
    if (!agent || host.isFrozen()) {
      equalAtMs.delete(watcher);
      return;
    }
    if (sweeps % 10 === 0) reader.ask(agent.registry);
    const reachMs = reachSinceMs[index];
    if (reachMs === null || reachMs === undefined || reader.digest() === truth.digest()) {
      equalAtMs.set(watcher, nowMs());
      return;
    }
    if (!equalAtMs.has(watcher)) equalAtMs.set(watcher, nowMs());
    const differsForMs = nowMs() - Math.max(equalAtMs.get(watcher) ?? 0, truth.changedAtMs());
    const isPrompt = clearForMs(index) > 2 * CLEAR_MS + differsForMs;
    if (differsForMs > (isPrompt ? PROMPT_MS + SWEEP_MS : READER_RETURN_MS)) {
      fail('a reader has the roll', `${host.name}: it differs for ${differsForMs} ms, cursor ${reader.cursor()}`);
    }
  }

  function checkProcess(process: Process) {
    const calls = network.underWay(process);
    if (calls > MAX_CALLS) fail('queues are bounded', `${calls} calls under way`);
    if (process.sleeps() > MAX_SLEEPS) fail('timers are bounded', `${process.sleeps()} sleeps in one process`);
  }

  function checkBounds() {
    let processes = 0;
    for (const { agents } of world.nodes) {
      for (const { process } of agents) checkProcess(process);
      processes += agents.length;
    }
    for (const { agent } of world.watchers) {
      if (!agent) continue;
      checkProcess(agent.process);
      processes += 1;
    }
    const timers = scheduler.pending() - 2 * scenario.faults.length;
    if (timers > MAX_TIMERS_EACH * (processes + 10)) fail('timers are bounded', `${timers} timers are pending`);
    for (let index = 0; index < requestsOf.length; index += 1) {
      const total = (requestsOf[index] as Count).number;
      const sent = total - (sentBefore[index] ?? 0);
      sentBefore[index] = total;
      const most = index < world.nodes.length ? MAX_REQUESTS_IN_10_S : MAX_READER_REQUESTS_IN_10_S;
      if (sent > most) fail('retries are bounded', `${world.hosts[index]?.name}: ${sent} requests in 10 s`);
    }
  }

  /** In a calm, once all have come back, no client writes anything. */
  function checkQuiet() {
    const inCalm = !isStormy(nowMs());
    const settledMs = calmSinceMs(nowMs()) + 2.2 * ttlMs + 2 * READER_RETURN_MS;
    if (!inCalm || nowMs() < settledMs || settledMs - calmSinceMs(nowMs()) > CALM_MINUTES * 60_000) {
      quiet = null;
      return;
    }
    const { writes } = cluster.counts();
    quiet ??= { fromMs: nowMs(), writes };
    if (writes > quiet.writes) {
      fail(
        'nothing is written while nothing changes',
        `${writes - quiet.writes} writes in ${nowMs() - quiet.fromMs} ms`,
      );
    }
  }

  sweep();

  return {
    onFault(fault, isOver) {
      const { kind } = fault;
      const reach = reachOf(world, fault);
      const endsCut = isOver && (kind === 'cut' || kind === 'refuse' || kind === 'cut-all');
      if (kind === 'restore' || kind === 'lose-second') leasesRestartMs = nowMs() + ELECTION_MS;
      // What came to the member meanwhile is carried out then.
      if (isOver && kind === 'pause') leasesDisturbedMs = Math.max(leasesDisturbedMs, nowMs());
      if (isOver && kind === 'slow') leasesDisturbedMs = nowMs() + MAX_SLOW_MS;
      if (reach === 'all') {
        storeDisturbedMs = nowMs();
        // A leader that comes back and revokes what others renewed is no excuse.
        if (!(kind === 'pause' && isOver)) for (const watch of watches.values()) watch.promptUntilMs = null;
      } else if (reach !== null) {
        const index = world.hosts.indexOf(reach);
        disturbedMs[index] = nowMs();
        const node = world.nodes[index];
        if (node) watchOf(node).promptUntilMs = null;
      }
      takeInStore();
      takeInHosts();
      for (const watch of nodeWatches) {
        unsettleOne(watch);
        // The next fault may come before the next sweep.
        touchAll(watch.node, watch.index, endsCut);
      }
      // What was held back while a link was cut arrives now, also from a process that has ended since.
      for (const [index, { touchedAtMs }] of world.nodes.entries()) {
        const sinceMs = unclearSinceMs[index] ?? Number.POSITIVE_INFINITY;
        const arrives = endsCut && (reach === 'all' || reach === world.hosts[index]);
        for (const [session, atMs] of touchedAtMs) {
          if (arrives && atMs > sinceMs - RESENT_MS) touchedAtMs.set(session, nowMs());
        }
        if (lossyMs[index] !== nowMs()) unclearSinceMs[index] = null;
      }
    },
  };
}
