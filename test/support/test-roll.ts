import type { TestContext } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Hold, Store } from '../../src/store/store.ts';
import { sampleInstanceId, sampleRecord } from './sample-record.ts';
import { serveStore } from './serve-store.ts';

export interface TestRoll {
  /** The URL of the store, for a command in this process. */
  readonly url: string;
  readonly store: Store;
  /** Registers node `n`, at 10.0.0.n. */
  register(n: number, overrides?: Partial<NodeRecord>): Promise<Hold>;
  /** Node `n` was there and its presence ended: departed if `overrides` have a departure, else lost. */
  end(n: number, overrides?: Partial<NodeRecord>): Promise<void>;
  /** The URL of an agent's HTTP port. */
  serve(): Promise<string>;
  /** The same of an agent whose watch of the store the test breaks. */
  serveBreakable(): Promise<{ readonly agent: string; isStale(): Promise<boolean>; cutOff(): void; mend(): void }>;
}

const never = new AbortController().signal;

/** A store in this process's memory, empty, named after the test. */
export async function openTestRoll(t: TestContext): Promise<TestRoll> {
  const name = t.fullName.replaceAll(/\W/g, '-');
  const config = { kind: 'memory', label: `memory:${name}`, name } as const;
  const store = await openStore(config, { clock: systemClock, random: Math.random, signal: never, create: true });
  t.after(() => store.close());

  const recordOf = (n: number, overrides: Partial<NodeRecord>) =>
    sampleRecord({ ec2InstanceId: sampleInstanceId(n), privateIpAddress: `10.0.0.${n}`, ...overrides });

  async function register(n: number, overrides: Partial<NodeRecord> = {}): Promise<Hold> {
    const record = recordOf(n, overrides);
    const registration = {
      instanceId: record.ec2InstanceId,
      session: `session-${n}`,
      since: record.registeredAt,
      ttlMs: 30_000,
      retentionMs: 90_000,
    };
    const outcome = await store.register(registration, record, { takeover: true, signal: never });
    if (outcome.kind !== 'registered') throw new Error(`node ${n}: ${outcome.kind}`);
    return outcome.hold;
  }

  async function serve(seen: Store): Promise<string> {
    const { url, close } = await serveStore(seen);
    t.after(close);
    return url;
  }

  return {
    url: `memory:${name}`,
    store,
    register,
    async end(n, overrides = {}) {
      await store.depart(await register(n, overrides), recordOf(n, overrides), never);
    },
    serve: () => serve(store),
    async serveBreakable() {
      let network = new AbortController();
      const watch: Store['watch'] = (revision, signal) =>
        store.watch(revision, AbortSignal.any([signal, network.signal]));
      const agent = await serve({ ...store, watch });
      return {
        agent,
        async isStale() {
          const answer = await fetch(`${agent}/v1/containerInstances?limit=1`);
          return ((await answer.json()) as { stale: boolean }).stale;
        },
        cutOff: () => network.abort(new Error('cut off')),
        mend() {
          network = new AbortController();
        },
      };
    },
  };
}
