import { RpcError } from '../../../src/store/etcd/channel.ts';
import { LEASE_KEEP_ALIVE } from '../../../src/store/etcd/rpc.ts';
import type { Scheduler } from '../scheduler.ts';
import { type Data, emptyData, type Revision, type Write } from './data.ts';
import { createLessor, ELECTION_MS } from './leader.ts';
import { answer, isWrite, keptLease } from './requests.ts';
import { createWatches, type WatchHandle, type WatchSink } from './watches.ts';

export type { WatchHandle } from './watches.ts';

/** etcd gives up a request that finds no leader after its request timeout and two elections. */
const REQUEST_TIMEOUT_MS = 7_000;
/** How long a leader that is cut off goes on as if it was none. */
const STEPS_DOWN_MS = 1_500;
/** A watch that asks for a leader is ended after three elections without one. */
const WATCH_WITHOUT_LEADER_MS = 3_000;

export type MemberState = 'up' | 'down' | 'paused' | 'isolated';

interface Member {
  state: MemberState;
  /** How far behind the others it carries out what was agreed. */
  lagMs: number;
  /** When it will have carried out all that is agreed now. */
  caughtUpAtMs: number;
  applied: number;
  /** What arrived while it was paused. */
  inbox: (() => void)[];
  /** When it became paused or isolated. */
  sinceMs: number;
  /** What it believed of the leases when it was paused as the leader. */
  beliefs: ReadonlyMap<string, number> | null;
}

/** Requests so far, by what they cost: `writes` puts, deletes, grants and revocations of clients. */
export interface Counts {
  readonly requests: number;
  readonly writes: number;
}

/** etcd's servers, without their wire and without the machines they run on. */
export interface Cluster {
  readonly size: number;
  /** `reply` is called once, or never: as when the member stops. */
  request(
    member: number,
    path: string,
    message: Buffer,
    from: string,
    reply: (answer: Buffer | RpcError) => void,
  ): void;
  watch(member: number, messages: readonly Buffer[], sink: WatchSink): WatchHandle;
  state(member: number): MemberState;
  /** How far the member is behind, in milliseconds. */
  lagMs(member: number): number;
  /** Whether it answers slowly or takes no writes. */
  isImpaired(): boolean;
  /** null: there is none that runs. */
  leader(): number | null;
  data(): Data;
  counts(): Counts;
  stop(member: number): void;
  start(member: number): void;
  pause(member: number): void;
  /** @param revokes as etcds do that take their leases for theirs after they were paused */
  resume(member: number, revokes: boolean): void;
  isolate(member: number): void;
  rejoin(member: number): void;
  /** Hands the lead to another member that runs. */
  moveLeader(): void;
  setLag(member: number, lagMs: number): void;
  /** Every request takes up to this much longer. */
  setSlow(slowMs: number): void;
  setFull(full: boolean): void;
  compact(): void;
  /** Something else deletes these keys. */
  foreignDelete(keys: readonly string[]): void;
  backup(): Data;
  /** All members start anew with this. */
  restore(data: Data): void;
}

export interface ClusterObserver {
  /** @param by the client that wrote, or `expiry`, or `revived leader` */
  onCommit(revision: Revision, by: string): void;
  /** All leases start again. */
  onLeader(): void;
  /** The history goes on from another point. */
  onRestored(): void;
}

export function createCluster(
  size: number,
  scheduler: Scheduler,
  random: () => number,
  observer: ClusterObserver,
): Cluster {
  let data = emptyData();
  let leader: number | null = 0;
  let slowMs = 0;
  let full = false;
  let electing = false;
  let [requests, writes] = [0, 0];
  const members = Array.from({ length: size }, (): Member => {
    return { state: 'up', lagMs: 0, caughtUpAtMs: 0, applied: 1, inbox: [], sinceMs: 0, beliefs: null };
  });
  const memberAt = (index: number) => members[index] as Member;
  const runs = (index: number) => memberAt(index).state === 'up';
  const quorum = () => members.filter(({ state }) => state === 'up').length > size / 2;
  const leads = () => leader !== null && runs(leader) && quorum();
  const watches = createWatches(
    size,
    () => data,
    (index) => memberAt(index).applied,
  );
  const lessor = createLessor(
    scheduler,
    () => data,
    leads,
    (lease) => revoke(lease, 'expiry'),
  );

  /** Members carry out what was agreed in order, each at its own pace. */
  function agreed(revision: Revision | null, by: string) {
    if (revision === null) return;
    observer.onCommit(revision, by);
    for (const [index, member] of members.entries()) {
      if (member.state !== 'up') continue;
      member.caughtUpAtMs = Math.max(member.caughtUpAtMs, scheduler.nowMs() + member.lagMs);
      if (member.caughtUpAtMs <= scheduler.nowMs()) apply(index);
      else scheduler.at(member.caughtUpAtMs, () => apply(index));
    }
  }

  function apply(index: number) {
    const member = memberAt(index);
    if (member.state !== 'up' || member.caughtUpAtMs > scheduler.nowMs()) return;
    member.applied = data.revision();
    watches.flush(index);
  }

  function revoke(lease: string, by: string) {
    agreed(data.revoke(lease), by);
  }

  /** A member that runs again takes what it missed. */
  function catchUp(index: number) {
    const member = memberAt(index);
    member.caughtUpAtMs = scheduler.nowMs();
    apply(index);
  }

  function elect() {
    if (leads()) return;
    leader = null;
    watchLeaderless();
    if (electing) return;
    electing = true;
    scheduler.after(ELECTION_MS * (1 + random()), () => {
      electing = false;
      if (!quorum()) return;
      const candidates = members.flatMap(({ state }, index) => (state === 'up' ? [index] : []));
      lead(candidates[Math.floor(random() * candidates.length)] as number);
    });
  }

  function lead(index: number) {
    leader = index;
    catchUp(index);
    lessor.promote();
    observer.onLeader();
  }

  function watchLeaderless() {
    scheduler.after(WATCH_WITHOUT_LEADER_MS, () => {
      for (const [index, { state }] of members.entries()) {
        if (state === 'isolated' || (state === 'up' && !leads())) watches.end(index, noLeader());
      }
    });
  }

  function execute(
    index: number,
    path: string,
    message: Buffer,
    from: string,
    reply: (answer: Buffer | RpcError) => void,
  ) {
    const member = memberAt(index);
    if (member.state === 'isolated' && member.beliefs && scheduler.nowMs() - member.sinceMs < STEPS_DOWN_MS) {
      // Until it notices that it leads nothing, it takes heartbeats, to no effect. It agrees on nothing alone.
      const kept = path === LEASE_KEEP_ALIVE.path ? keptAlive(message, member.beliefs) : null;
      if (kept) return reply(kept);
    }
    if (member.state === 'isolated' || !leads()) {
      scheduler.after(REQUEST_TIMEOUT_MS, () =>
        reply(new RpcError(14, 'etcdserver: request timed out', true, undefined)),
      );
      return;
    }
    if (isWrite(path, message)) writes += 1;
    try {
      const answered = answer(path, message, {
        data,
        lessor,
        full,
        commit: (some: readonly Write[]) => agreed(data.write(some), from),
        revoke: (lease) => revoke(lease, from),
      });
      // It has seen what it answers.
      if (member.caughtUpAtMs <= scheduler.nowMs()) reply(answered);
      else scheduler.at(member.caughtUpAtMs, () => reply(answered));
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      reply(error);
    }
  }

  function restart(index: number) {
    const member = memberAt(index);
    member.inbox = [];
    watches.end(index, null);
  }

  return {
    size,
    request(index, path, message, from, reply) {
      requests += 1;
      const member = memberAt(index);
      if (member.state === 'down') return;
      const serve = () => execute(index, path, message, from, reply);
      if (member.state === 'paused') member.inbox.push(serve);
      else if (slowMs > 0) scheduler.after(slowMs * random(), () => memberAt(index).state !== 'down' && serve());
      else serve();
    },
    watch(index, messages, sink) {
      if (memberAt(index).state === 'up' && leads()) return watches.open(index, messages, sink);
      sink.end(noLeader());
      return { close: () => {} };
    },
    state: (index) => memberAt(index).state,
    lagMs: (index) => Math.max(memberAt(index).lagMs, memberAt(index).caughtUpAtMs - scheduler.nowMs(), 0),
    isImpaired: () => slowMs > 0 || full,
    leader: () => (leads() ? leader : null),
    data: () => data,
    counts: () => ({ requests, writes }),
    stop(index) {
      memberAt(index).state = 'down';
      restart(index);
      elect();
    },
    start(index) {
      memberAt(index).state = 'up';
      catchUp(index);
      elect();
    },
    pause(index) {
      const member = memberAt(index);
      Object.assign(member, { state: 'paused', sinceMs: scheduler.nowMs() });
      member.beliefs = leader === index ? lessor.beliefs() : null;
      // A cluster of one elects no other: it leads still when it runs again.
      if (size > 1) elect();
    },
    resume(index, revokes) {
      const member = memberAt(index);
      const { beliefs, inbox } = member;
      Object.assign(member, { state: 'up', beliefs: null, inbox: [] });
      catchUp(index);
      if (leader !== index) elect();
      if (revokes && beliefs && leader !== index) {
        for (const lease of lessor.endedOf(beliefs)) {
          scheduler.after(1_500 * random(), () => {
            if (leads() && data.leases().has(lease)) revoke(lease, 'revived leader');
          });
        }
      }
      for (const serve of inbox) scheduler.after(0, () => runs(index) && random() < 0.5 && serve());
    },
    isolate(index) {
      const member = memberAt(index);
      Object.assign(member, { state: 'isolated', sinceMs: scheduler.nowMs() });
      member.beliefs = leader === index ? lessor.beliefs() : null;
      elect();
    },
    rejoin(index) {
      Object.assign(memberAt(index), { state: 'up', beliefs: null });
      catchUp(index);
      elect();
    },
    moveLeader() {
      const others = members.flatMap(({ state }, index) => (state === 'up' && index !== leader ? [index] : []));
      if (leads() && others.length > 0) lead(others[Math.floor(random() * others.length)] as number);
    },
    setLag(index, lagMs) {
      memberAt(index).lagMs = lagMs;
    },
    setSlow(ms) {
      slowMs = ms;
    },
    setFull(is) {
      full = is;
    },
    compact: () => data.compact(data.revision()),
    foreignDelete: (keys) =>
      agreed(data.write(keys.map((key) => ({ key, value: null, lease: '0' }))), 'something else'),
    backup: () => data.copy(),
    restore(from) {
      data = from.copy();
      for (const [index, member] of members.entries()) {
        restart(index);
        Object.assign(member, { state: 'up', lagMs: 0, caughtUpAtMs: scheduler.nowMs(), applied: data.revision() });
        member.beliefs = null;
      }
      leader = 0;
      lessor.promote();
      observer.onRestored();
    },
  };
}

/** null: it does not believe in this lease any more. */
function keptAlive(message: Buffer, beliefs: ReadonlyMap<string, number>): Buffer | null {
  const id = keptLease(message);
  return beliefs.has(id) ? LEASE_KEEP_ALIVE.response.encode({ id, ttl: '1' }) : null;
}

function noLeader(): RpcError {
  return new RpcError(14, 'etcdserver: no leader', true, undefined);
}
