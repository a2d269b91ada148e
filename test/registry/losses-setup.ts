import type { TestContext } from 'node:test';
import type { RollEvent } from '../../src/record/events.ts';
import { presenceState, type RollEntry } from '../../src/record/roll.ts';
import type { EventBatch, EventSource } from '../../src/registry/event-source.ts';
import { holdLosses } from '../../src/registry/hold.ts';
import { createRegistry, type RegistryOptions } from '../../src/registry/registry.ts';
import { applyEvent } from '../support/apply-event.ts';
import { fakeStore } from '../support/fake-store.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { type SimulatedClock, simulatedClock } from '../support/simulated-clock.ts';

export const NEVER = new AbortController().signal;
const PRESENCE = { session: 'session-a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };

export function nodes(from: number, to: number, presence: RollEntry['presence'] = PRESENCE): readonly RollEntry[] {
  return Array.from({ length: to - from }, (_, n) => ({
    record: sampleRecord({ ec2InstanceId: sampleInstanceId(from + n) }),
    presence,
  }));
}

/** Twenty present nodes, at revision 2, and a registry with two consumers: of the facts, and of what is certain. */
export async function setUp(t: TestContext, options: Partial<RegistryOptions> = {}) {
  const store = fakeStore();
  const clock = simulatedClock();
  const registry = createRegistry({ store, clock, random: () => 0.5, ...options });
  t.after(() => registry.close());
  store.commit(nodes(0, 20));
  const read = async (since: string | null = null, known?: ReadonlyMap<string, RollEntry>) => {
    const started = reader(registry, since, known);
    await clock.advance(0);
    return started;
  };
  const consumer = await read();
  const holding = reader(holdLosses(registry), null);
  await clock.advance(0);
  consumer.take();
  holding.take();
  return { store, clock, registry, read, consumer, holding };
}

/** @param known the roll that the reader has already */
export function reader(source: EventSource, since: string | null, known: ReadonlyMap<string, RollEntry> = new Map()) {
  const batches: EventBatch[] = [];
  let roll = new Map(known);
  const run = async () => {
    for await (const batch of await source.events({ since, signal: NEVER })) {
      batches.push(batch);
      roll = batch.events.reduce(applyEvent, roll);
    }
  };
  run().catch(() => {}); // the tests check what a reader got
  return {
    take: () => batches.splice(0).map(({ events, cursor }) => [brief(events), cursor] as const),
    roll: () => new Map(roll),
    states: () => count([...roll.values()].map(presenceState)),
  };
}

/** The same store, whose watches after the first, which are of the past, wait until they are released. */
export function slowPast(store: ReturnType<typeof fakeStore>) {
  const released = Promise.withResolvers<void>();
  let watches = 0;
  const slow: ReturnType<typeof fakeStore> = Object.create(store, {
    watch: {
      value: async function* (...args: Parameters<typeof store.watch>) {
        watches += 1;
        if (watches > 1) await released.promise;
        yield* store.watch(...args);
      },
    },
  });
  return { store: slow, release: released.resolve };
}

/** `lost?×3 synced`: kinds in order, with how often they follow one another; `?` for what is uncertain. */
function brief(events: readonly RollEvent[]): string {
  const runs: { kind: string; times: number }[] = [];
  for (const event of events) {
    const kind = 'uncertain' in event && event.uncertain ? `${event.kind}?` : event.kind;
    const last = runs.at(-1);
    if (last?.kind === kind) last.times += 1;
    else runs.push({ kind, times: 1 });
  }
  return runs.map(({ kind, times }) => (times > 1 ? `${kind}×${times}` : kind)).join(' ');
}

function count(states: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const state of states) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

export async function passHealthy(clock: SimulatedClock, store: ReturnType<typeof fakeStore>, ms: number) {
  for (let leftMs = ms; leftMs > 0; leftMs -= 5_000) {
    await clock.advance(Math.min(leftMs, 5_000));
    store.confirm();
    await clock.advance(0);
  }
}
