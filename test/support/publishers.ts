import type { TestContext } from 'node:test';
import { type Desired, initialPublisherState, type PublisherState } from '../../src/agent/publisher/publisher-plan.ts';
import { runPublisher } from '../../src/agent/publisher/publisher-run.ts';
import { createCell } from '../../src/lib/cell.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { encodeRecord } from '../../src/record/codec.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Store } from '../../src/store/store.ts';
import { until } from './machine-time.ts';
import { sampleInstanceId, sampleRecord } from './sample-record.ts';

const never = new AbortController().signal;

export interface TestPublisher {
  readonly instanceId: string;
  readonly store: Store;
  state(): PublisherState;
  /** How often the watch of its keys told it of a loss, before a heartbeat did. */
  heard(): number;
  /** Publishes a change of the record. */
  want(change: Partial<NodeRecord>): void;
  readonly ended: Promise<PublisherState>;
}

export function openEtcdStore(endpoints: readonly string[], prefix = '/rollcall'): Promise<Store> {
  return openStore(
    { kind: 'etcd', label: 'etcd://test', endpoints, prefix, tls: null, credentials: null },
    { clock: systemClock, random: Math.random, signal: never, create: false },
  );
}

/** The publishers of so many agents, each with a store of its own, all registered when this resolves. */
export async function startPublishers(
  t: TestContext,
  endpoints: readonly string[],
  options: {
    readonly count: number;
    readonly ttlMs: number;
    readonly session?: string;
    /** Default: that of a sample record. */
    readonly registeredAt?: string;
  },
): Promise<TestPublisher[]> {
  const { count, ttlMs, session = 's', registeredAt = sampleRecord().registeredAt } = options;
  const stop = new AbortController();
  const publishers: TestPublisher[] = [];
  for (let n = 0; n < count; n += 1) {
    const store = await openEtcdStore(endpoints);
    const ec2InstanceId = sampleInstanceId(n);
    const record = sampleRecord({ ec2InstanceId, registeredAt, sidecar: { version: '1', session } });
    const desired = createCell<Desired | null>({ record, json: encodeRecord(record) });
    let state = initialPublisherState(ttlMs);
    let heard = 0;
    const ended = runPublisher(
      {
        store,
        clock: systemClock,
        random: Math.random,
        session,
        ttlMs,
        retentionMs: 86_400_000,
        desired,
        leaving: createCell(false),
        onStep({ action }, next) {
          if (action === 'hear' && next.counts.losses > state.counts.losses) heard += 1;
          state = next;
        },
      },
      stop.signal,
    );
    ended.catch(() => {}); // aborted by the test's end
    t.after(() => store.close());
    const want = (change: Partial<NodeRecord>) => {
      const next = { ...record, ...change };
      desired.set({ record: next, json: encodeRecord(next) });
    };
    publishers.push({ instanceId: record.ec2InstanceId, store, state: () => state, heard: () => heard, want, ended });
  }
  t.after(() => stop.abort());
  await until('all are registered', 30_000, () => publishers.every(({ state }) => state().phase === 'held'));
  return publishers;
}
