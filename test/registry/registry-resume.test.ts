import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Presence } from '../../src/record/record.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { createRegistry, type Registry } from '../../src/registry/registry.ts';
import { applyEvent } from '../support/apply-event.ts';
import { fakeStore } from '../support/fake-store.ts';
import { fewerInQuickRun } from '../support/quick-run.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const NODES = 8;
const AGENTS = 2;
const CONSUMERS = 3;
const LIMITS = { share: 0.3, count: 3 };

/** Agents that guard their readers against mass losses, and consumers that go from one to another. */
function world() {
  const store = fakeStore();
  const clock = simulatedClock();
  const nodes = new Map<string, RollEntry>();
  let session = 0;
  const start = () => createRegistry({ store, clock, random: () => 0.5, massLoss: LIMITS, idleMs: 60_000 });
  const agents: Registry[] = Array.from({ length: AGENTS }, start);
  const consumers = Array.from({ length: CONSUMERS }, () => createConsumer());

  function newPresence(): Presence {
    session += 1;
    return { session: `s-${session}`, since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
  }

  /** What the node does, if it can; its presence while it was there last is what it returns with. */
  function move(n: number, what: Move): RollEntry | null | undefined {
    const instanceId = sampleInstanceId(n);
    const now = nodes.get(instanceId);
    const sane = { ...now?.record, departure: null };
    switch (what) {
      case 'lose':
        return now?.presence ? { record: now.record, presence: null } : undefined;
      case 'return':
        return now && !now.presence && !now.record.departure
          ? { record: now.record, presence: lastPresence.get(n) ?? newPresence() }
          : undefined;
      case 'restart':
        return { record: sampleRecord({ ...sane, ec2InstanceId: instanceId }), presence: newPresence() };
      case 'change':
        return now ? { ...now, record: { ...now.record, labels: { n: newPresence().session } } } : undefined;
      case 'depart':
        return now?.presence
          ? { record: { ...now.record, departure: { cause: 'stopped', at: '2026-01-01T01:00:00Z' } }, presence: null }
          : undefined;
      case 'forget':
        return now && !now.presence ? null : undefined;
    }
  }
  const lastPresence = new Map<number, Presence>();

  return {
    store,
    clock,
    nodes,
    agents,
    consumers,
    move(ns: readonly number[], what: Move, atOnce: boolean) {
      const put: RollEntry[] = [];
      const gone: string[] = [];
      const commit = () => {
        if (put.length + gone.length > 0) store.commit(put.splice(0), gone.splice(0));
      };
      for (const n of ns) {
        const entry = move(n, what);
        if (entry === undefined) continue;
        const instanceId = sampleInstanceId(n);
        if (entry === null) {
          nodes.delete(instanceId);
          gone.push(instanceId);
        } else {
          if (entry.presence) lastPresence.set(n, entry.presence);
          nodes.set(instanceId, entry);
          put.push(entry);
        }
        if (!atOnce) commit();
      }
      commit();
    },
    async pass(ms: number) {
      for (let leftMs = ms; leftMs > 0; leftMs -= 5_000) {
        await clock.advance(Math.min(leftMs, 5_000));
        store.confirm();
        await clock.advance(0);
      }
    },
    async restart(agent: number) {
      await agents[agent]?.close();
      agents[agent] = start();
    },
  };
}

/** Keeps its roll, and goes on after its cursor, however it lost its agent. */
function createConsumer() {
  let roll: ReadonlyMap<string, RollEntry> = new Map();
  let cursor: string | null = null;
  let link = new AbortController();
  // Of this stream: where it is so at its begin, it says so.
  let uncertain = false;

  async function read(agent: Registry, signal: AbortSignal, events: number) {
    let left = events;
    let last: string | null = null;
    uncertain = false;
    for await (const batch of await agent.events({ since: cursor, signal })) {
      for (const event of batch.events) {
        if (signal.aborted || left === 0) return;
        left -= 1;
        if ('snapshot' in event && event.snapshot) cursor = null;
        roll = applyEvent(roll, event);
        if (event.kind === 'uncertain') uncertain = true;
        else if (event.kind === 'certain' || (event.kind === 'synced' && last !== 'uncertain')) uncertain = false;
        last = event.kind;
      }
      cursor = batch.cursor;
    }
  }

  return {
    roll: () => roll,
    uncertain: () => uncertain,
    /** @param events it dies after so many, with events that it received and did not process */
    connect(agent: Registry, events: number) {
      link.abort();
      link = new AbortController();
      const { signal } = link;
      read(agent, signal, events).catch(() => {}); // the test resumes it
    },
    leave: () => link.abort(),
  };
}

const MOVES = ['lose', 'return', 'restart', 'change', 'depart', 'forget'] as const;
type Move = (typeof MOVES)[number];

const some = fc.uniqueArray(fc.nat({ max: NODES - 1 }), { minLength: 1, maxLength: NODES });
const agent = fc.nat({ max: AGENTS - 1 });
const consumer = fc.nat({ max: CONSUMERS - 1 });
const act = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('lose' as const), ns: some, atOnce: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('return' as const), ns: some, atOnce: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom(...MOVES), ns: some, atOnce: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 100, 10_000, 31_000) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('connect' as const),
      consumer,
      agent,
      events: fc.constantFrom(1, 4, 9, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), consumer }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart agent' as const), agent }) },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.record({ do: fc.constant('cut' as const) }),
      fc.record({ do: fc.constant('compact' as const) }),
    ),
  },
);

test('a reader that resumes from any cursor, after any events, ends with the store’s roll, and certain of it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 40, size: 'max' }), async (acts) => {
      const { store, clock, nodes, agents, consumers, move, pass, restart } = world();
      move([...Array(NODES).keys()], 'restart', true);
      for (const each of acts) {
        if (each.do === 'pass') await pass(each.ms);
        else if (each.do === 'connect') {
          const to = agents[each.agent];
          if (to) consumers[each.consumer]?.connect(to, each.events);
        } else if (each.do === 'leave') consumers[each.consumer]?.leave();
        else if (each.do === 'restart agent') await restart(each.agent);
        else if (each.do === 'cut') store.cutWatches();
        else if (each.do === 'compact') store.compact();
        else move(each.ns, each.do, each.atOnce);
        await clock.advance(0);
      }
      await pass(10_000);
      for (const [n, each] of consumers.entries())
        each.connect(agents[n % AGENTS] as Registry, Number.POSITIVE_INFINITY);
      await pass(130_000);
      for (const each of consumers) {
        assert.deepEqual(new Map([...each.roll()].sort()), new Map([...nodes].sort()));
        assert.equal(each.uncertain(), false);
      }
      for (const each of agents) await each.close();
    }),
    { numRuns: fewerInQuickRun(200) },
  );
});
