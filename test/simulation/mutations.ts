import type { runPublisher } from '../../src/agent/publisher/publisher-run.ts';
import { untilAborted } from '../../src/lib/abort.ts';
import type { createRegistry } from '../../src/registry/registry.ts';
import type { openEtcdKv } from '../../src/store/etcd/etcd-kv.ts';
import type { Kv } from '../../src/store/kv.ts';
import type { createRollStore } from '../../src/store/roll-store.ts';
import type { Store } from '../../src/store/store.ts';
import { CompactedError } from '../../src/store/store-errors.ts';
import { type Parts, REAL_PARTS } from './agent.ts';
import type { Scenario } from './scenario.ts';

/** A way to break the code, and the promise that is broken then. */
export interface Mutation {
  readonly what: string;
  /** One of these is what the simulation says. */
  readonly breaks: readonly string[];
  readonly parts: Parts;
  /** The one that shows it, where scenarios by chance seldom do. Default: by chance. */
  readonly scenario?: Scenario;
}

function ofStore(change: (store: Store) => Partial<Store>): Parts {
  const make: typeof createRollStore = (kv) => {
    const store = REAL_PARTS.createRollStore(kv);
    return { ...store, ...change(store) };
  };
  return { ...REAL_PARTS, createRollStore: make };
}

function ofKv(change: (kv: Kv) => Partial<Kv>): Parts {
  const make: typeof openEtcdKv = (...options) => {
    const kv = REAL_PARTS.openEtcdKv(...options);
    return { ...kv, ...change(kv) };
  };
  return { ...REAL_PARTS, openEtcdKv: make };
}

function ofPublisher(change: (...options: Parameters<typeof runPublisher>) => Parameters<typeof runPublisher>): Parts {
  return { ...REAL_PARTS, runPublisher: (...options) => REAL_PARTS.runPublisher(...change(...options)) };
}

function ofRegistry(
  change: (registry: ReturnType<typeof createRegistry>) => Partial<ReturnType<typeof createRegistry>>,
): Parts {
  const make: typeof createRegistry = (options) => {
    const registry = REAL_PARTS.createRegistry(options);
    return { ...registry, ...change(registry) };
  };
  return { ...REAL_PARTS, createRegistry: make };
}

/** What writes keys that start so is not guarded. */
function withoutGuards(start: string): Parts {
  return ofKv((kv) => ({
    txn: (txn, signal) =>
      kv.txn(txn.puts.some(({ key }) => key.startsWith(start)) ? { ...txn, guards: [] } : txn, signal),
  }));
}

const MISSING = 'no living node is missing';
const PROMPT = 'a living node that was removed is back within a second';
const NO_EARLY_LOSS = 'no loss that may be taken back is acted on';
const FOLDS = 'events fold to the roll';

/** Each is a fault that a change of the code could bring, at the part that has the code. */
export const MUTATIONS: readonly Mutation[] = [
  {
    what: 'a heartbeat is not sent, and counts as answered',
    // It registers again each time that its lease ends.
    breaks: [PROMPT, MISSING, 'nothing is written while nothing changes'],
    parts: ofStore(() => ({ renew: async () => ({ kind: 'renewed' }) })),
  },
  {
    what: 'the keys of a registration are not watched',
    breaks: [PROMPT, MISSING],
    parts: ofStore(() => ({ untilNotHeld: (_, signal) => untilAborted(signal) })),
  },
  {
    what: 'an agent hears late of the removal of its registration',
    breaks: [PROMPT],
    parts: ofPublisher((options, signal) => {
      const { store, clock } = options;
      const untilNotHeld: Store['untilNotHeld'] = async (hold, within) => {
        const outcome = await store.untilNotHeld(hold, within);
        await clock.sleep(4_000, within);
        return outcome;
      };
      return [{ ...options, store: { ...store, untilNotHeld } }, signal];
    }),
    scenario: {
      ...{ seed: 1, nodes: 1, members: 1, readers: 0, ttlMs: 30_000, minutes: 3 },
      faults: [{ kind: 'delete-key', atMs: 120_000, forMs: 1_000, host: 0, member: 0, force: 0.5 }],
    },
  },
  {
    what: 'an agent that was superseded registers again',
    breaks: ['one node, one registration', 'retries are bounded', 'nothing is written while nothing changes'],
    parts: ofStore((store) => ({
      register: (registration, record, options) =>
        store.register({ ...registration, since: '2030-01-01T00:00:00Z' }, record, { ...options, takeover: true }),
      untilNotHeld: async (hold, signal) => {
        await store.untilNotHeld(hold, signal);
        return { kind: 'lost' };
      },
    })),
  },
  {
    what: 'a departure is written without its cause',
    breaks: ['departures keep their cause'],
    parts: ofStore((store) => ({
      depart: (hold, record, signal) => store.depart(hold, { ...record, departure: null }, signal),
    })),
  },
  {
    what: 'a change of the record is not written, and counts as written',
    breaks: ['a change of the record is published'],
    parts: ofStore(() => ({ update: async () => ({ kind: 'written', revision: '1' }) })),
  },
  {
    what: 'each heartbeat writes the record',
    breaks: ['nothing is written while nothing changes'],
    parts: ofKv((kv) => ({
      keepAlive: async (lease, signal) => {
        const puts = [{ key: 'coordination/v1/beat', value: lease, lease: '0' }];
        await kv.txn({ guards: [], puts, deletes: [], reads: [] }, signal);
        return kv.keepAlive(lease, signal);
      },
    })),
  },
  {
    what: 'a watch leaves out a revision now and then',
    breaks: [FOLDS, 'every change is an event or covered', 'nothing breaks'],
    parts: ofKv((kv) => ({
      watch: async function* (revision, signal) {
        let batches = 0;
        for await (const batch of kv.watch(revision, signal)) {
          if (batch.events.length > 0) batches += 1;
          if (batch.events.length === 0 || batches % 7 !== 0) yield batch;
        }
      },
    })),
  },
  {
    what: 'a watch goes on behind a compaction as if nothing was missing',
    breaks: [FOLDS, 'every change is an event or covered', 'a reader has the roll'],
    parts: ofKv((kv) => ({
      watch: async function* (revision, signal) {
        try {
          yield* kv.watch(revision, signal);
        } catch (error) {
          if (!(error instanceof CompactedError)) throw error;
          const { revision: newest } = await kv.range({ prefix: 'v1/', limit: 1 }, signal);
          yield* kv.watch(newest, signal);
        }
      },
    })),
  },
  {
    what: 'an answer never says that it is stale',
    breaks: ['a stale answer says so'],
    parts: ofRegistry((registry) => ({
      read: async (signal) => ({ ...(await registry.read(signal)), stale: false, ageMs: 0 }),
    })),
  },
  {
    what: 'the presence is put on the retention lease',
    breaks: ['no dead node stays present'],
    parts: ofKv((kv) => ({
      txn: (txn, signal) => {
        const record = txn.puts.find(({ key }) => key.startsWith('v1/records/'));
        const puts = txn.puts.map((put) => (record ? { ...put, lease: record.lease } : put));
        return kv.txn({ ...txn, puts }, signal);
      },
    })),
  },
  {
    what: 'retries do not pause',
    breaks: ['retries are bounded'],
    parts: ofPublisher((options, signal) => [{ ...options, random: () => 0 }, signal]),
  },
  {
    what: 'drain slots are counted and taken without a lock',
    breaks: ['drain slots are never above the share'],
    parts: withoutGuards('coordination/v1/drain'),
  },
  {
    what: 'results are published without the fence of the lock',
    breaks: ['only the leader’s results are taken'],
    parts: withoutGuards('coordination/v1/simulated/summary'),
  },
  {
    what: 'uncertain losses are not held back',
    breaks: [NO_EARLY_LOSS],
    parts: { ...REAL_PARTS, holdLosses: (source) => source },
  },
  {
    what: 'losses that were held back are not sent when they are certain',
    breaks: ['a consumer that holds losses back has the roll'],
    parts: {
      ...REAL_PARTS,
      holdLosses: (source) => {
        const held = REAL_PARTS.holdLosses(source);
        return {
          events: async (options) => {
            const batches = await held.events(options);
            return (async function* () {
              for await (const batch of batches) {
                const from = batch.events.findIndex(({ kind }) => kind === 'certain');
                yield from < 0 ? batch : { ...batch, events: batch.events.slice(0, from + 1) };
              }
            })();
          },
        };
      },
    },
  },
  {
    what: 'a loss is not told',
    breaks: [FOLDS, 'every change is an event or covered'],
    parts: ofRegistry((registry) => ({
      async events(options) {
        const batches = await registry.events(options);
        return (async function* () {
          for await (const batch of batches) {
            yield { ...batch, events: batch.events.filter(({ kind }) => kind !== 'lost') };
          }
        })();
      },
    })),
  },
];
