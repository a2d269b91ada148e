import { parseRollQuery } from '../http/query.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { UsageError } from '../lib/errors.ts';
import { cloudEvent, filterEvent } from '../record/cloud-event.ts';
import { filterRoll, instanceJson } from '../record/roll.ts';
import type { MassLossLimits } from '../registry/mass-loss.ts';
import { createRegistry, type Registry } from '../registry/registry.ts';
import { openStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';
import type { StoreConfig } from '../store/store-url.ts';
import type { RollCloudEvent, RollSource } from './types.ts';

/** An embedded store may be locked by another process for a moment; etcd is first asked by the first call. */
const OPEN_TIMEOUT_MS = 10_000;

export interface StoreSourceOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly massLoss: MassLossLimits | null;
}

interface Opened {
  readonly store: Store;
  readonly registry: Registry;
}

/** Reads from a store, through one registry for all calls. */
export function openStoreSource(config: StoreConfig, options: StoreSourceOptions): RollSource {
  const { clock, random, massLoss } = options;
  const life = new AbortController();
  let opening: Promise<Opened> | null = null;

  async function open(): Promise<Opened> {
    const store = await openStore(config, { clock, random, signal: life.signal, create: false });
    return { store, registry: createRegistry({ store, clock, random, massLoss }) };
  }

  /** Opened by the first call, which the others then share; after a failure by the next. */
  async function registry(signal: AbortSignal): Promise<Registry> {
    signal.throwIfAborted(); // nothing is opened again after `close`
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
      const parsed = parseRollQuery(query);
      if (!parsed.ok) throw new UsageError(parsed.detail);
      const { roll, ageMs, stale, uncertainty } = await (await registry(signal)).read(signal);
      const containerInstances = filterRoll(roll.entries, parsed.value).map(instanceJson);
      return { containerInstances, revision: roll.revision, ageMs, stale, uncertainty, skipped: roll.skipped };
    },

    async *stream({ since, cluster, kinds }, signal) {
      const source = await registry(signal);
      const filter = { kinds: kinds && new Set(kinds), cluster: cluster && new Set(cluster) };
      let storeId = await source.storeId(signal);
      for await (const batch of await source.events({ since, signal })) {
        // A snapshot in mid-stream may be of another store: one that was restored from a backup.
        if (batch.cursor === null) storeId = await source.storeId(signal);
        const wallMs = clock.wallMs();
        const events = batch.events
          .map((event) => filterEvent(event, filter))
          .filter((event) => event !== null)
          // The kinds and their data go together in `RollEvent` as the types and their data do here.
          .map((event) => cloudEvent(event, storeId, wallMs) as RollCloudEvent);
        yield { events, cursor: batch.cursor };
      }
    },

    async close() {
      life.abort();
      const last = await opening?.catch(() => null); // a store that never opened has nothing to close
      await last?.registry.close();
      await last?.store.close();
    },
  };
}
