import type { Clock } from '../../timing/clock.ts';
import { prefixEnd, toBase64 } from './bytes.ts';
import type { Gateway } from './gateway.ts';
import { headerRevision, int64Field, type JsonObject, objectsField } from './json-fields.ts';
import { wentBack } from './verdict.ts';
import type { WatchStream } from './watch-stream.ts';

/** How long an event may be on its way before the store is asked whether there is one. */
const GRACE_MS = 300;
/** How long an event that is known to exist may stay away before its stream is given up. */
const SILENCE_MS = 2_000;

/** How far a watch has come. The watch moves it on while a proof is under way. */
export interface WatchProgress {
  /** Every event up to here was received. */
  received: bigint;
  /** At this revision our keys were as they were at `received`. Never below it. */
  same: bigint;
}

export interface Proof {
  /** What `received` was when the proof was made. */
  readonly from: bigint;
  readonly revision: bigint;
  /** Our keys are the same at `from` and at `revision`. False: they differ, and their events did not come in good time. */
  readonly same: boolean;
  /** It took reads that make etcd look at all our keys. */
  readonly scanned: boolean;
}

/**
 * Finds out, without relying on the stream, whether a watch is up to date. A stream cannot show it itself: the JSON
 * gateway takes no progress requests, etcd's own notices come every ten minutes, the answer to a new watch may overtake
 * the events before it, and a dead connection is as silent as a quiet store.
 *
 * So the same member is asked by reads that no Raft log sees. If the whole store's revision is ours, nothing was
 * written. If it is ahead, most likely others share the store: then no key of ours may be newer than what we have
 * (`min_mod_revision`), and there must be as many as there were (nothing was deleted).
 * @throws CompactedError when the store's revision is behind ours, StoreError when the member does not answer
 */
export async function proveFresh(
  gateway: Gateway,
  root: string,
  stream: WatchStream,
  progress: WatchProgress,
  clock: Clock,
): Promise<Proof> {
  const read = <T>(query: object, parse: (answer: JsonObject) => T) =>
    gateway.call({ path: '/v3/kv/range', body: query, repeatable: true, only: stream.endpoint }, stream.signal, parse);
  const all = { key: toBase64(root), range_end: prefixEnd(root) };

  const before = { ...progress };
  const head = await read({ key: toBase64(root), count_only: true }, (answer) => BigInt(headerRevision(answer)));
  if (head < before.same) throw wentBack(stream.endpoint.url);
  if (head === before.same) return { from: before.received, revision: head, same: true, scanned: false };

  await clock.sleep(GRACE_MS, stream.signal);
  const { received: from, same: since } = { ...progress };
  if (from >= head) return { from, revision: from, same: true, scanned: false };
  // Two reads and not one transaction: etcd 3.4 panics when a compaction meets a transaction that reads an old revision.
  const countThen = await read({ ...all, revision: String(since), count_only: true }, countOf);
  const newer = { ...all, min_mod_revision: String(since + 1n), keys_only: true, limit: '1' };
  const now = await read(newer, (answer) => ({
    revision: BigInt(headerRevision(answer)),
    changed: objectsField(answer, 'kvs').length > 0,
    count: countOf(answer),
  }));
  const same = !now.changed && now.count === countThen;
  if (!same && progress.received === from) await clock.sleep(SILENCE_MS, stream.signal);
  return { from, revision: now.revision, same, scanned: true };
}

function countOf(answer: JsonObject): string {
  return int64Field(answer, 'count');
}
