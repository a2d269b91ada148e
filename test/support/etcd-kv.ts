import assert from 'node:assert/strict';
import { systemClock } from '../../src/lib/clock.ts';
import { openChannel } from '../../src/store/etcd/channel.ts';
import { type EtcdDeps, openEtcdKv } from '../../src/store/etcd/etcd-kv.ts';
import { TXN } from '../../src/store/etcd/rpc.ts';
import type { Kv, KvBatch } from '../../src/store/kv.ts';
import type { EtcdStoreConfig } from '../../src/store/store-url.ts';

/** For calls that are not aborted. */
export const never = new AbortController().signal;

const opened = new Set<Kv>();

/** Closes every store that is open, also those of a test that failed: an open connection keeps the process alive. */
export async function closeTestKvs(): Promise<void> {
  await Promise.all([...opened].map((kv) => kv.close()));
  opened.clear();
}

/** A store below `/rollcall` that starts at the first endpoint. */
export function openTestKv(
  endpoints: readonly string[],
  config: Partial<EtcdStoreConfig> = {},
  deps: Partial<EtcdDeps> = {},
): Kv {
  const kv = openEtcdKv(
    { kind: 'etcd', label: 'etcd://test', endpoints, prefix: '/rollcall', tls: null, credentials: null, ...config },
    { clock: systemClock, random: () => 0, ...deps },
  );
  opened.add(kv);
  return kv;
}

/** Puts keys without guards, all in one revision; answers that revision. */
export async function putAll(kv: Kv, entries: Readonly<Record<string, string>>, lease = '0'): Promise<string> {
  const puts = Object.entries(entries).map(([key, value]) => ({ key, value, lease }));
  return (await kv.txn({ guards: [], puts, deletes: [], reads: [] }, never)).revision;
}

/** Puts an empty value at a whole key that need not be text, which etcdctl does not take. */
export async function putBytes(url: string, key: Buffer): Promise<void> {
  const channel = openChannel(url, null, systemClock, 10_000);
  await channel.call(TXN, TXN.request.encode({ success: [{ requestPut: { key } }] }), {}, never);
  channel.close();
}

/** That a batch is a confirmation of this revision, however long it took. */
export function assertConfirms(batch: KvBatch | undefined, revision: string): void {
  assert.ok(batch?.confirmedMsAgo !== undefined && batch.confirmedMsAgo >= 0, JSON.stringify(batch));
  assert.deepEqual({ ...batch, confirmedMsAgo: 0 }, { revision, events: [], confirmedMsAgo: 0 });
}

/** Collects from a watch until `enough` says so; fails after `limitMs`. */
export async function collect(
  kv: Kv,
  revision: string,
  enough: (batches: readonly KvBatch[]) => boolean,
  limitMs = 30_000,
): Promise<KvBatch[]> {
  const batches: KvBatch[] = [];
  for await (const batch of kv.watch(revision, AbortSignal.timeout(limitMs))) {
    batches.push(batch);
    if (enough(batches)) break;
  }
  return batches;
}
