import { DeadlineError, withDeadline } from '../../src/lib/deadline.ts';
import type { DrainClaim } from '../../src/store/drain-slots.ts';
import { StoreError } from '../../src/store/store-errors.ts';
import { type Agent, PREFIX } from './agent.ts';
import type { Revision } from './etcd/data.ts';
import type { World } from './world.ts';

const CALL_MS = 10_000;
const PAUSE_MS = 2_000;
/** What an agent that is done takes back is tried for so long. */
const TRIES = 30;
const SHARE_PERCENT = 20;
const LOCK = 'simulated';
const LOCK_TTL_MS = 10_000;
const DRAINS = `${PREFIX}/coordination/v1/drains/`;
const LEADER = `${PREFIX}/coordination/v1/${LOCK}/leader`;
const RESULTS = `${PREFIX}/coordination/v1/${LOCK}/summary`;
/** A slot that is taken was counted at most so long before: for as long the lock of the counting agent lives. */
const COUNTED_MS = 30_000;

const never = new AbortController().signal;

/** One call of the store; null: it failed, and may have been carried out. */
async function attempt<T>(agent: Agent, call: (signal: AbortSignal) => Promise<T>): Promise<T | null> {
  try {
    return await withDeadline(agent.process.clock, CALL_MS, never, 'coordinate', call);
  } catch (error) {
    if (error instanceof StoreError || error instanceof DeadlineError) return null;
    throw error;
  }
}

/** The agent takes a drain slot when there is one, keeps it until `isOver`, and gives it back. */
export async function drain(agent: Agent, isOver: () => boolean): Promise<void> {
  const { store, process, session, instanceId } = agent;
  const { containerInstanceArn, cluster } = agent.record();
  const since = new Date(process.clock.wallMs()).toISOString();
  const claim: DrainClaim = {
    phase: 'claimed',
    arn: containerInstanceArn ?? '',
    cluster: cluster ?? '',
    reason: 'simulated',
    since,
    session,
  };
  const request = { instanceId, claim, maxSharePercent: SHARE_PERCENT };
  while (!isOver()) {
    await attempt(agent, (signal) => store.drainSlots.take(request, signal));
    await process.clock.sleep(PAUSE_MS, never);
  }
  for (let n = 0; n < TRIES; n += 1) {
    const isFree = await attempt(agent, async (signal) => {
      const held = await store.drainSlots.read(instanceId, signal);
      if (held) await store.drainSlots.giveBack(held, signal);
      return true;
    });
    if (isFree) return;
    await process.clock.sleep(PAUSE_MS, never);
  }
}

/** Those that lead, or want to: the calls of one term are made one after another. */
const candidates = new WeakMap<Agent, { number: number; busy: boolean }>();

/** The agent wants to lead until `isOver`, and publishes numbered results while it does. */
export async function lead(agent: Agent, isOver: () => boolean): Promise<void> {
  const { session, instanceId, process } = agent;
  const { leaderLocks } = agent.store;
  const candidate = candidates.get(agent) ?? { number: 0, busy: false };
  if (candidate.busy) return;
  candidate.busy = true;
  candidates.set(agent, candidate);
  while (!isOver()) {
    const won = await attempt(agent, (signal) =>
      leaderLocks.campaign(LOCK, { session, instanceId, ttlMs: LOCK_TTL_MS }, signal),
    );
    let leads = won?.kind === 'elected';
    while (won?.kind === 'elected' && leads && !isOver()) {
      candidate.number += 1;
      const summary = `${session} ${candidate.number}`;
      const published = await attempt(agent, (signal) => leaderLocks.publish(won.term, { summary }, signal));
      const renewed = await attempt(agent, (signal) => leaderLocks.renew(won.term, signal));
      leads = published?.kind !== 'lost' && renewed !== 'lost';
      await process.clock.sleep(PAUSE_MS, never);
    }
    if (won?.kind === 'elected' && leads) await attempt(agent, (signal) => leaderLocks.resign(won.term, signal));
    await process.clock.sleep(PAUSE_MS, never);
  }
  candidate.busy = false;
}

/** Holds what agents agree on through the store against the truth. @returns to be called with each revision */
export function watchCoordination({ cluster, truth, scheduler, fail }: World): (revision: Revision) => void {
  const { nowMs } = scheduler;
  let epoch = truth.epoch();
  let restoredAtMs = Number.NEGATIVE_INFINITY;
  /** How many nodes were present, and until when. */
  let counts: { readonly present: number; untilMs: number }[] = [];

  function note() {
    if (truth.epoch() !== epoch) restoredAtMs = nowMs();
    epoch = truth.epoch();
    const present = [...truth.nodes.values()].filter((node) => node.record && node.presence).length;
    const last = counts.at(-1);
    if (last) last.untilMs = nowMs();
    if (last?.present !== present) counts.push({ present, untilMs: Number.POSITIVE_INFINITY });
    else last.untilMs = Number.POSITIVE_INFINITY;
    counts = counts.filter(({ untilMs }) => nowMs() - untilMs < COUNTED_MS);
  }

  /** Claims of nodes that are there, or may come back. */
  function claims(): number {
    const { kvs } = cluster.data().range({ from: DRAINS, end: `${DRAINS}~`, revision: 0, minModRevision: 0 });
    return kvs.filter(({ key }) => {
      const node = truth.nodes.get(key.slice(DRAINS.length));
      if (!node?.record) return false;
      const { departure, interruption } = node.record;
      return node.presence !== null || (departure === null && interruption === null);
    }).length;
  }

  return ({ changes }) => {
    note();
    for (const { key, now, previous } of changes) {
      if (key.startsWith(DRAINS) && now !== null && previous === null) {
        const most = Math.max(...counts.map(({ present }) => present));
        const slots = Math.max(1, Math.floor((SHARE_PERCENT * most) / 100 + 1e-9));
        if (claims() > slots && nowMs() - restoredAtMs > COUNTED_MS) {
          fail('drain slots are never above the share', `${claims()} claims for ${slots} slots`);
        }
      }
      if (key === RESULTS && now !== null) {
        const [session = '', number] = now.value.split(' ');
        const [before, last] = previous?.value.split(' ') ?? [];
        if (!cluster.data().get(LEADER)?.value.includes(`"${session}"`)) {
          fail('only the leader’s results are taken', `${session} published, and does not hold the lock`);
        }
        if (before === session && Number(last) >= Number(number)) {
          fail('only the leader’s results are taken', `${session} published ${number} after ${last}`);
        }
      }
    }
  };
}
