import { pageOf, parseListQuery } from '../http/query.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { UsageError } from '../lib/errors.ts';
import { cloudEvent, filterEvent } from '../record/cloud-event.ts';
import { filterRoll, parseFilter } from '../record/filter.ts';
import { listNotes } from '../record/flaws.ts';
import { instanceJson } from '../record/roll.ts';
import { holdLosses } from '../registry/hold.ts';
import type { MassLossLimits } from '../registry/mass-loss.ts';
import { createRegistry, type Registry } from '../registry/registry.ts';
import { openStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';
import { readTwice } from '../store/store-errors.ts';
import type { StoreConfig } from '../store/store-url.ts';
import type { RollCloudEvent, RollSource } from './types.ts';

/** Another process may hold an embedded store's lock for a moment. etcd is not contacted before the first call. */
const OPEN_TIMEOUT_MS = 10_000;

interface StoreSourceOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly massLoss: MassLossLimits | null;
}

interface Opened {
  readonly store: Store;
  readonly registry: Registry;
}

/** Reads from a store, with one registry for all calls. */
export function openStoreSource(config: StoreConfig, options: StoreSourceOptions): RollSource {
  const { clock, random, massLoss } = options;
  const life = new AbortController();
  let opening: Promise<Opened> | null = null;

  async function open(): Promise<Opened> {
    const store = await openStore(config, { clock, random, signal: life.signal, create: false });
    return { store, registry: createRegistry({ store, clock, random, massLoss }) };
  }

  /** The shared registry. The first call opens it; after a failure the next call tries again. */
  async function registry(signal: AbortSignal): Promise<Registry> {
    signal.throwIfAborted(); // do not open again after `close`
    opening ??= open().catch((error) => {
      opening = null;
      throw error;
    });
    const shared = opening;
    return withDeadline(clock, OPEN_TIMEOUT_MS, signal, `open ${config.label}`, async () => (await shared).registry);
  }

  return {
    label: config.label,

    async list(query, signal) {
      const parsed = parseListQuery(query);
      if (!parsed.ok) throw new UsageError(parsed.detail);
      const source = await registry(signal);
      const { roll, ageMs, stale, uncertainty } = await readTwice(() => source.read(signal), signal);
      const { filter, page } = parsed.value;
      const { entries, next } = pageOf(filterRoll(roll.entries, filter), page);
      const containerInstances = entries.map(instanceJson);
      const notes = listNotes(roll.entries, filter);
      const { revision, skipped } = roll;
      return { containerInstances, revision, ageMs, stale, uncertainty, skipped, notes, next };
    },

    async *stream({ since, nodes, kinds, hold }, signal) {
      const source = await registry(signal);
      const feed = hold ? holdLosses(source) : source;
      const filter = { kinds: kinds && new Set(kinds), nodes: parseFilter(nodes) };
      let storeId = await source.storeId(signal);
      const batches = await feed.events({ since, signal });
      yield { events: [] };
      for await (const batch of batches) {
        // A snapshot in mid-stream may come from a store restored from a backup, which has another id.
        if (batch.cursor === null) storeId = await source.storeId(signal);
        const wallMs = clock.wallMs();
        const events = batch.events
          .map((event) => filterEvent(event, filter))
          .filter((event) => event !== null)
          // `RollEvent` pairs kinds and data in the same way, which the compiler cannot see.
          .map((event) => cloudEvent(event, storeId, wallMs) as RollCloudEvent);
        yield { events, cursor: batch.cursor };
      }
    },

    async close() {
      life.abort();
      const last = await opening?.catch(() => null); // if the store did not open, there is nothing to close
      await last?.registry.close();
      await last?.store.close();
    },
  };
}
