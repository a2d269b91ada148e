import type { Clock } from '../../lib/clock.ts';
import type { KvEvent } from '../kv.ts';
import type { EtcdClient } from './etcd-client.ts';
import { wentBack } from './etcd-errors.ts';
import { prefixEnd, revisionOf } from './key-range.ts';
import { RANGE } from './rpc.ts';
import type { WatchStream } from './watch-stream.ts';

/** How long an event may be on its way before the store is asked whether there is one. */
const GRACE_MS = 300;
/** How long an event that is known to exist may stay away before its stream is given up. */
const SILENCE_MS = 2_000;

/** How far a watch has come. The watch moves it on while a check is under way. */
export interface WatchProgress {
  /** Every event up to here was received. */
  received: bigint;
  /** At this revision our keys were as they were at `received`. Never below it. */
  same: bigint;
}

export interface Freshness {
  /** What `received` was when it was checked. */
  readonly from: bigint;
  readonly revision: bigint;
  /** Our keys are the same at `from` and at `revision`. False: they differ, and their events did not come in good time. */
  readonly same: boolean;
  /** It took reads that make etcd look at all our keys. */
  readonly scanned: boolean;
}

/**
 * Finds out, without relying on the stream, whether a watch is up to date. A stream cannot show it itself: requests for
 * progress are unknown before etcd 3.4 and answered too early before 3.4.31 and 3.5.13, etcd's own notices come every ten
 * minutes, the answer to a new watch may overtake the events before it, and a proxy may keep back what it likes.
 *
 * So the same member is asked by reads that no Raft log sees. If the whole store's revision is ours, nothing was
 * written. If it is ahead, most likely others share the store: then no key of ours may be newer than what we have
 * (`min_mod_revision`), and there must be as many as there were (nothing was deleted).
 * @throws CompactedError when the store's revision is behind ours, StoreError when the member does not answer
 */
export async function checkFreshness(
  client: EtcdClient,
  root: string,
  stream: WatchStream,
  progress: WatchProgress,
  clock: Clock,
): Promise<Freshness> {
  const how = { repeatable: true, only: stream.endpoint };
  const all = { key: root, rangeEnd: prefixEnd(root) };

  const before = { ...progress };
  const head = BigInt(await client.call(RANGE, { key: root, countOnly: true }, how, stream.signal, revisionOf));
  if (head < before.same) throw wentBack(stream.endpoint.url);
  if (head === before.same) return { from: before.received, revision: head, same: true, scanned: false };

  await clock.sleep(GRACE_MS, stream.signal);
  const { received: from, same: since } = { ...progress };
  if (from >= head) return { from, revision: from, same: true, scanned: false };
  // Two reads and not one transaction: etcd 3.4 panics when a compaction meets a transaction that reads an old revision.
  const past = { ...all, revision: String(since), countOnly: true };
  const countThen = await client.call(RANGE, past, how, stream.signal, ({ count }) => count);
  const newer = { ...all, minModRevision: String(since + 1n), keysOnly: true, limit: '1' };
  const now = await client.call(RANGE, newer, how, stream.signal, (answer) => ({
    revision: BigInt(revisionOf(answer)),
    changed: answer.kvs.length > 0,
    count: answer.count,
  }));
  const same = !now.changed && now.count === countThen;
  if (!same && progress.received === from) await clock.sleep(SILENCE_MS, stream.signal);
  return { from, revision: now.revision, same, scanned: true };
}

/**
 * What keys were at the last revision that this store was read or watched at. A store restored from a backup counts
 * on from the backup's revision and soon has every revision again, with other changes behind it. Its header does not
 * tell: restored under the same peer URLs and token, etcd 3.4 has the same cluster id and the same raft term as before.
 */
export interface HistoryCheck {
  /** What a range at `revision` brought. */
  sawKeys(
    revision: string,
    kvs: readonly { readonly key: string; readonly value: string; readonly modRevision: string }[],
  ): void;
  /** The events of `revision`. */
  sawEvents(revision: string, events: readonly KvEvent[]): void;
  /** What a member must have for `revision` to be the one that was seen, all of it; empty when nothing is known about it. */
  at(revision: string): readonly Expected[];
  /** A member has something else there. Other readers that go on from there still ask, until keys are read anew. */
  refute(): void;
}

interface Expected {
  /** The key to read, and the revision to read it at; a compaction may have taken one before that which was asked about. */
  readonly key: string;
  readonly revision: string;
  /** @param kvs what the read brought */
  isMet(kvs: readonly { readonly value: string; readonly modRevision: string }[]): boolean;
}

interface Put {
  readonly value: string;
  readonly modRevision: string;
}

/** What a key was made at `revision`; null: deleted. */
interface KeyChange {
  readonly key: string;
  readonly value: string | null;
  readonly revision: string;
  /** When it was seen, which a compaction takes later. */
  readonly seenAt: string;
}

/** The keys that were written last: where the last of them is deleted again, another one still tells. */
const MAX_PUTS = 8;
/**
 * How many of the last changes have to be the same, too: agents do after a restore what they did before it, so the last
 * change of both histories may be the same, at the same revision.
 */
const MAX_CHANGES = 4;

/** @param root what every key of ours starts with */
export function createHistoryCheck(root: string): HistoryCheck {
  let seen: string | null = null;
  /** Keys that are there at `seen`, the newest last. */
  const puts = new Map<string, Put>();
  /** One key for each of the last revisions that changed any, the newest first. A put where there was one. */
  let changes: KeyChange[] = [];
  let refuted = false;

  const forget = () => {
    puts.clear();
    changes = [];
    refuted = false;
  };

  return {
    sawKeys: (revision, kvs) => {
      // Of all pages read at one revision the keys that changed last: the later, the less a backup has of it.
      // The store that took another's place may be at the very same revision: nothing of the old one is kept then.
      if (seen !== revision || refuted) forget();
      let newest = [...puts].at(-1) ?? null;
      // An iterator would make an object for each.
      for (let at = 0; at < kvs.length; at += 1) {
        const { key, value, modRevision } = kvs[at] as Put & { readonly key: string };
        if (newest === null || isLaterRevision(modRevision, newest[1].modRevision)) {
          if (isText(key)) newest = [key, { value, modRevision }];
        }
        const oldest = changes[MAX_CHANGES - 1];
        if (oldest && !isLaterRevision(modRevision, oldest.revision)) continue;
        const place = changes.findIndex((change) => !isLaterRevision(change.revision, modRevision));
        if (changes[place]?.revision === modRevision || !isText(key)) continue;
        changes.splice(place < 0 ? changes.length : place, 0, { key, value, revision: modRevision, seenAt: revision });
        changes.splice(MAX_CHANGES);
      }
      if (newest) puts.delete(newest[0]);
      if (newest) puts.set(...newest);
      seen = revision;
    },
    sawEvents: (revision, events) => {
      const known = events.filter(({ key }) => isText(key));
      if (known.length === 0) return;
      // What was seen at a later revision need not have been there yet.
      if (refuted || (seen !== null && isLaterRevision(seen, revision))) forget();
      const { key: changed, value: now } = known.find(({ value }) => value !== null) ?? (known[0] as KvEvent);
      // Another watch may have brought the same.
      const before = changes.filter((change) => change.revision !== revision);
      changes = [{ key: changed, value: now, revision, seenAt: revision }, ...before].slice(0, MAX_CHANGES);
      for (const { key, value } of known) {
        puts.delete(key);
        if (value !== null) puts.set(key, { value, modRevision: revision });
      }
      for (const key of [...puts.keys()].slice(0, -MAX_PUTS)) puts.delete(key);
      seen = revision;
    },
    at: (revision) => {
      if (seen !== revision) return [];
      /** One key for each revision that changed any. */
      const expected = new Map<string, Expected>();
      const last = [...puts].at(-1);
      if (last) {
        const [key, { value, modRevision }] = last;
        const isMet: Expected['isMet'] = ([kv]) => kv?.modRevision === modRevision && kv.value === value;
        expected.set(modRevision, { key: root + key, revision, isMet });
      }
      for (const { key, value, revision: at, seenAt } of changes) {
        if (expected.has(at)) continue;
        // What is deleted alone says little: many histories have a key missing.
        const isMet: Expected['isMet'] = ([kv]) =>
          value === null ? kv === undefined : kv?.modRevision === at && kv.value === value;
        expected.set(at, { key: root + key, revision: seenAt, isMet });
      }
      return [...expected.values()];
    },
    refute: () => {
      refuted = true;
    },
  };
}

/** Of two revisions as decimal texts. Pages are long, and a BigInt for each key would cost more than reading it. */
function isLaterRevision(a: string, b: string): boolean {
  return a.length === b.length ? a > b : a.length > b.length;
}

/** A key that is no UTF-8 came with U+FFFD in place of its bytes, and cannot be asked for. */
function isText(key: string): boolean {
  return !key.includes('\ufffd');
}
