import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { diffEntry, lostPresence, type RollEvent } from '../../src/record/events.ts';
import type { Presence } from '../../src/record/record.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import type { EventSource } from '../../src/registry/event-source.ts';
import { holdLosses } from '../../src/registry/hold.ts';
import { isMassLoss } from '../../src/registry/mass-loss.ts';
import { createRegistry, type Registry } from '../../src/registry/registry.ts';
import { applyEvent } from '../support/apply-event.ts';
import { fakeStore } from '../support/fake-store.ts';
import { fewerInQuickRun } from '../support/quick-run.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const NODES = 8;
const AGENTS = 2;
/** The even ones get the facts, the odd ones are behind the filter that holds uncertain losses. */
const CONSUMERS = 4;
const LIMITS = { share: 0.3, count: 3 };
const TTL_MS = 30_000;

/** What happened to a node at a revision. */
interface Happening {
  readonly revision: number;
  readonly instanceId: string;
  readonly atMs: number;
  /** Lost with so many others at this revision that it is a mass loss. */
  readonly isMassLoss: boolean;
  readonly isForgotten: boolean;
  readonly isPresent: boolean;
}

/** Agents, and consumers that go from one to another. */
function world() {
  const store = fakeStore();
  const clock = simulatedClock();
  const nodes = new Map<string, RollEntry>();
  let session = 0;
  const start = () => createRegistry({ store, clock, random: () => 0.5, massLoss: LIMITS, idleMs: 60_000 });
  const agents: Registry[] = Array.from({ length: AGENTS }, start);
  let revision = 1;
  const happened: Happening[] = [];
  const consumers = Array.from({ length: CONSUMERS }, (_, n) =>
    n % 2 ? createConsumer(holdLosses, heldCheck) : createConsumer((agent) => agent, factsCheck),
  );

  /** Each change after one cursor and up to the next is sent exactly once, at its revision and in order. */
  function factsCheck(told: readonly RollEvent[], from: bigint, to: bigint): string[] {
    const ids = told.map(nameOf);
    const due = happened.filter((each) => BigInt(each.revision) > from && BigInt(each.revision) <= to);
    const missing = due
      .map(({ revision, instanceId }) => `${revision}/${instanceId}`)
      .filter((id) => !ids.some((other) => other.startsWith(id)));
    const revisions = told.map((event) => Number(event.revision));
    return [
      ...missing.map((id) => `${id} is missing after ${from}`),
      ...ids.filter((id, n) => ids.indexOf(id) !== n).map((id) => `${id} came twice`),
      ...told
        .filter((event) => !happened.some((each) => nameOf(event).startsWith(`${each.revision}/${idOf(event)}/`)))
        .map((event) => `${nameOf(event)} is invented`),
      ...(revisions.some((each, n) => each < (revisions[n - 1] ?? 0)) ? [`${revisions} are not in order`] : []),
    ];
  }

  /** How the node's absence ended: a change of its record does not end it. */
  const endOf = (loss: Happening) =>
    happened.find(
      ({ instanceId, revision, isForgotten, isPresent }) =>
        instanceId === loss.instanceId && revision > loss.revision && (isForgotten || isPresent),
    );

  /** No loss of a mass loss is sent before it is a TTL old, but of a node that was forgotten since: it has not returned. */
  function heldCheck(told: readonly RollEvent[]): string[] {
    const losses = told.filter(({ kind }) => kind === 'lost').map(nameOf);
    return happened
      .filter(({ isMassLoss, atMs }) => isMassLoss && clock.monotonicMs() - atMs < TTL_MS)
      .filter((loss) => !endOf(loss)?.isForgotten)
      .filter(({ revision, instanceId }) => losses.includes(`${revision}/${instanceId}/lost`))
      .map(
        ({ revision, instanceId, atMs }) => `${revision}/${instanceId} was sent after ${clock.monotonicMs() - atMs} ms`,
      );
  }

  function commit(put: readonly RollEntry[], gone: readonly string[], before: ReadonlyMap<string, RollEntry>) {
    if (put.length + gone.length === 0) return;
    store.commit(put, gone);
    revision += 1;
    const present = [...before.values()].filter((entry) => entry.presence).length;
    const changes = [
      ...put.map((after) => ({ instanceId: after.record.ec2InstanceId, after })),
      ...gone.map((instanceId) => ({ instanceId, after: null })),
    ].map(({ instanceId, after }) => ({ instanceId, before: before.get(instanceId) ?? null, after }));
    const lost = changes.filter((change) => lostPresence(change) !== null).length;
    for (const change of changes) {
      const { instanceId, before, after } = change;
      if (diffEntry(instanceId, before, after, String(revision)).length === 0) continue;
      const isMass = lostPresence(change) !== null && isMassLoss(lost, present - lost, LIMITS);
      happened.push({
        revision,
        instanceId,
        atMs: clock.monotonicMs(),
        isMassLoss: isMass,
        isForgotten: after === null,
        isPresent: Boolean(after?.presence),
      });
    }
  }

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
      let before = new Map(nodes);
      const commitNow = () => {
        commit(put.splice(0), gone.splice(0), before);
        before = new Map(nodes);
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
        if (!atOnce) commitNow();
      }
      commitNow();
    },
    compact() {
      store.compact();
      revision += 1;
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

function idOf(event: RollEvent): string {
  return 'instanceId' in event ? event.instanceId : '';
}

function nameOf(event: RollEvent): string {
  return `${event.revision}/${idOf(event)}/${event.kind}`;
}

/**
 * Keeps its roll, and goes on after its cursor, however it lost its agent.
 * @param check what is wrong with the events between two cursors, apart from snapshots
 */
function createConsumer(
  view: (agent: EventSource) => EventSource,
  check: (told: readonly RollEvent[], from: bigint, to: bigint) => string[],
) {
  let roll: Map<string, RollEntry> = new Map();
  let cursor: string | null = null;
  let link = new AbortController();
  // Of this stream: where it is so at its begin, it says so.
  let uncertain = false;
  const violations: string[] = [];

  async function read(agent: Registry, signal: AbortSignal, events: number) {
    let left = events;
    let last: string | null = null;
    let told: RollEvent[] = [];
    uncertain = false;
    for await (const batch of await view(agent).events({ since: cursor, signal })) {
      for (const event of batch.events) {
        if (signal.aborted || left === 0) return;
        left -= 1;
        if ('snapshot' in event && event.snapshot) cursor = null;
        else if ('instanceId' in event) told.push(event);
        roll = applyEvent(roll, event);
        if (event.kind === 'uncertain') uncertain = true;
        else if (event.kind === 'certain' || (event.kind === 'synced' && last !== 'uncertain')) uncertain = false;
        if (event.kind === 'synced') cursor = null;
        last = event.kind;
      }
      if (cursor !== null && batch.cursor !== null && batch.cursor !== cursor) {
        violations.push(...check(told, BigInt(cursor), BigInt(batch.cursor)));
      }
      if (batch.cursor !== cursor) told = [];
      cursor = batch.cursor;
    }
  }

  return {
    roll: () => roll,
    uncertain: () => uncertain,
    violations,
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

test('from any cursor, after any events, a reader ends with the store’s roll, gets each fact once, and behind the filter no mass loss early', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 40, size: 'max' }), async (acts) => {
      const { store, clock, nodes, agents, consumers, move, pass, compact, restart } = world();
      move([...Array(NODES).keys()], 'restart', true);
      for (const each of acts) {
        if (each.do === 'pass') await pass(each.ms);
        else if (each.do === 'connect') {
          const to = agents[each.agent];
          if (to) consumers[each.consumer]?.connect(to, each.events);
        } else if (each.do === 'leave') consumers[each.consumer]?.leave();
        else if (each.do === 'restart agent') await restart(each.agent);
        else if (each.do === 'cut') store.cutWatches();
        else if (each.do === 'compact') compact();
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
        assert.deepEqual(each.violations, []);
      }
      for (const each of agents) await each.close();
    }),
    {
      numRuns: fewerInQuickRun(200),
      examples: [
        // It was sent losses that were certain there, and ended before its cursor moved; the other agent has them in its log.
        [
          [
            { do: 'connect', consumer: 3, agent: 1, events: Number.POSITIVE_INFINITY },
            { do: 'cut' },
            { do: 'connect', consumer: 3, agent: 0, events: 4 },
            { do: 'lose', ns: [0, 2, 1], atOnce: false },
            { do: 'pass', ms: 31_000 },
            { do: 'return', ns: [2, 0], atOnce: false },
          ],
        ],
        // A node whose record changes after a mass loss is forgotten.
        [
          [
            { do: 'connect', consumer: 0, agent: 0, events: 1 },
            { do: 'lose', ns: [0, 1, 2], atOnce: true },
            { do: 'connect', consumer: 1, agent: 0, events: Number.POSITIVE_INFINITY },
            { do: 'change', ns: [0], atOnce: false },
            { do: 'forget', ns: [0], atOnce: false },
            { do: 'cut' },
            { do: 'return', ns: [2, 1], atOnce: false },
            { do: 'leave', consumer: 1 },
          ],
        ],
        // A node of a mass loss is forgotten while a reader behind the filter is away.
        [
          [
            { do: 'connect', consumer: 0, agent: 0, events: 1 },
            { do: 'lose', ns: [0, 1, 2], atOnce: true },
            { do: 'connect', consumer: 3, agent: 0, events: 9 },
            { do: 'forget', ns: [0], atOnce: false },
            { do: 'return', ns: [1, 2], atOnce: false },
          ],
        ],
        // The other agent has a gap, and sees of a mass loss only two that were present before it.
        [
          [
            { do: 'connect', consumer: 0, agent: 1, events: 1 },
            { do: 'lose', ns: [1, 0], atOnce: false },
            { do: 'pass', ms: 31_000 },
            { do: 'compact' },
            { do: 'connect', consumer: 3, agent: 0, events: 9 },
            { do: 'restart', ns: [1], atOnce: false },
            { do: 'lose', ns: [2, 1, 3], atOnce: true },
          ],
        ],
      ],
    },
  );
});
