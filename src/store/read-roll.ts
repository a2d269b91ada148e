import { linkSignals } from '../lib/abort.ts';
import { printable } from '../lib/foreign-text.ts';
import { type Decoded, decodePresence, decodeRecord } from '../record/codec.ts';
import { decodeDifference, type KeptDifference, MAX_DIFFERENCES } from '../record/difference.ts';
import type { NodeRecord, Presence } from '../record/record.ts';
import type { Roll, RollEntry, SkippedKey } from '../record/roll.ts';
import { decodeSummary, decodeWrittenPresence, type NodeSummary } from '../record/summary.ts';
import { parseKey, presenceKey, RECORDS, ROOT, recordKey } from './keys.ts';
import type { Kv, KvBatch, KvEvent, LeaseTime, RangeEntry, RangePage } from './kv.ts';
import { CompactedError, StoreError } from './store-errors.ts';

export interface OverdueCount {
  readonly asked: number;
  readonly overdue: number;
}

/** What one revision changed about a node or a foreign key. `null`: the key does not exist (deleted, lease ended, never written). */
export type Change =
  | {
      readonly kind: 'record';
      readonly instanceId: string;
      readonly record: NodeRecord | null;
      readonly previous: NodeRecord | null;
    }
  | {
      readonly kind: 'presence';
      readonly instanceId: string;
      readonly presence: Presence | null;
      readonly previous: Presence | null;
    }
  /** A difference of the continuous audit. */
  | {
      readonly kind: 'difference';
      readonly key: string;
      readonly difference: KeptDifference | null;
      readonly previous: KeptDifference | null;
    }
  | { readonly kind: 'skipped'; readonly skipped: SkippedKey }
  /** A foreign key was deleted. */
  | { readonly kind: 'unskipped'; readonly key: string };

/** All changes of one revision. A record that became unreadable gives two: a `record` change to `null` and a `skipped`. */
export interface WatchBatch {
  readonly revision: string;
  readonly changes: readonly Change[];
  /** In a confirmation, and in no other batch: the reader had everything that the store had this long ago. */
  readonly confirmedMsAgo?: number;
}

/** A prefix that other programs use, too, may have any number of foreign keys: this many are named, the rest are counted. */
export const MAX_SKIPPED = 100;

/** More than any key of ours has. */
const MAX_KEY_CHARS = 300;

/**
 * A key as readers get it: what can write the store can write any key, and readers print it or send it on. `ROOT` stands for
 * the keys that are not named: a key of that name is in quotes.
 */
const named = (key: string) => (key === ROOT ? JSON.stringify(key) : printable(key.slice(0, MAX_KEY_CHARS)));

/** What of each key is wanted. */
interface Decoders<R extends NodeSummary> {
  readonly record: (instanceId: string, json: string) => Decoded<R>;
  readonly presence: (json: string) => Decoded<Presence>;
}
export const WHOLE: Decoders<NodeRecord> = { record: decodeRecord, presence: decodePresence };
export const SUMMARY: Decoders<NodeSummary> = { record: decodeSummary, presence: decodeWrittenPresence };

interface Present {
  readonly instanceId: string;
  readonly presence: Presence;
}

interface RollCollector<R extends NodeSummary> {
  /** Adds a page, whose keys are sorted; pages in any order. */
  add(kvs: readonly RangeEntry[]): void;
  /** @param revision at which all added keys were read */
  finish(revision: string): Roll<R>;
}

/**
 * Joins records and presences, page by page, into a roll. Never throws: unreadable keys are named in `skipped`.
 * Both are merged instead of looked up by id, and only pages are put in order: for 10,000 nodes look-ups are slower, and
 * so is comparing each with the next.
 */
export function collectRoll<R extends NodeSummary>(decoders: Decoders<R>): RollCollector<R> {
  const recordPages: R[][] = [];
  const presencePages: Present[][] = [];
  const differences = new Map<string, KeptDifference>();
  const unreadableRecords = new Set<string>();
  const skipped: SkippedKey[] = [];
  let skippedCount = 0;

  const skip = (key: string, reason: string) => {
    skippedCount += 1;
    if (skipped.length < MAX_SKIPPED) skipped.push({ key: named(key), reason });
  };

  const add = ({ key, value }: RangeEntry, records: R[], presences: Present[]) => {
    const parsed = parseKey(key);
    if (parsed.kind === 'foreign') {
      skip(key, parsed.reason);
    } else if (parsed.kind === 'difference') {
      const decoded = decodeDifference(value);
      if (!decoded.ok) skip(key, decoded.reason);
      else if (differences.size >= MAX_DIFFERENCES) skip(key, `more than ${MAX_DIFFERENCES} differences`);
      else differences.set(key, decoded.value);
    } else if (parsed.kind === 'record') {
      const decoded = decoders.record(parsed.instanceId, value);
      if (decoded.ok) {
        records.push(decoded.value);
      } else {
        unreadableRecords.add(parsed.instanceId);
        skip(key, decoded.reason);
      }
    } else {
      const decoded = decoders.presence(value);
      if (decoded.ok) presences.push({ instanceId: parsed.instanceId, presence: decoded.value });
      else skip(key, decoded.reason);
    }
  };

  /** A presence whose record is unreadable is not named again: its record was. */
  const skipPresence = (instanceId: string) => {
    if (!unreadableRecords.has(instanceId)) skip(presenceKey(instanceId), 'a presence without a record');
  };

  const merge = (): RollEntry<R>[] => {
    const presences = joinPages(presencePages, ({ instanceId }) => instanceId);
    let next = 0;
    const entries = joinPages(recordPages, ({ ec2InstanceId }) => ec2InstanceId).map((record) => {
      const { ec2InstanceId } = record;
      let beside = presences[next];
      for (; beside && beside.instanceId !== ec2InstanceId; beside = presences[++next]) {
        if (beside.instanceId > ec2InstanceId) return { record, presence: null };
        skipPresence(beside.instanceId);
      }
      next += 1;
      return { record, presence: beside?.presence ?? null };
    });
    for (const { instanceId } of presences.slice(next)) skipPresence(instanceId);
    return entries;
  };

  return {
    add: (kvs) => {
      const records: R[] = [];
      const presences: Present[] = [];
      // An iterator would make an object for each.
      for (let at = 0; at < kvs.length; at += 1) add(kvs[at] as RangeEntry, records, presences);
      recordPages.push(records);
      presencePages.push(presences);
    },
    finish: (revision) => {
      const entries = merge();
      const more = skippedCount - skipped.length;
      if (more > 0) skipped.push({ key: ROOT, reason: `${more} more keys that cannot be read` });
      return { revision, entries, skipped, ...(differences.size > 0 ? { differences } : {}) };
    },
  };
}

/** One list of pages that came in any order, each sorted by id. */
function joinPages<T>(pages: readonly (readonly T[])[], id: (item: T) => string): readonly T[] {
  const first = ([item]: readonly T[]) => (item === undefined ? '' : id(item));
  return pages.toSorted((a, b) => (first(a) < first(b) ? -1 : 1)).flat();
}

const MAX_ATTEMPTS = 3;
/** Records and presences of 50 nodes: a roll up to that size takes one call. */
const SMALL_ROLL_KEYS = 100;
/**
 * By a command that a person waits for, as it is soonest done: what is under way at 10,000 nodes, 4 MB, has to come within
 * the limit of one call. By an agent in little memory.
 */
const PACES = { hurry: { parallel: 4, limit: 5_000, cut: true }, thrifty: { parallel: 2, limit: 1_000, cut: false } };

/** `Store.read` over any key-value store: all pages are read at the revision of the first one. */
export async function readRoll<R extends NodeSummary>(
  kv: Kv,
  decoders: Decoders<R>,
  pace: keyof typeof PACES,
  signal: AbortSignal,
): Promise<Roll<R>> {
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    try {
      const first = await kv.range({ prefix: ROOT, limit: SMALL_ROLL_KEYS }, signal);
      const roll = collectRoll(decoders);
      if (first.next === null) roll.add(first.kvs);
      else await readPieces(kv, first.revision, roll, PACES[pace], signal);
      return roll.finish(first.revision);
    } catch (error) {
      // The revision was compacted between two pages. Reading again needs no pause: it reads a newer revision.
      if (!(error instanceof CompactedError)) throw error;
    }
  }
  throw new StoreError(`read the roll: the store was compacted during each of ${MAX_ATTEMPTS} attempts`, {
    retryable: true,
  });
}

/**
 * Reads the roll in pieces, several at a time: etcd prepares answers on several cores, and the next ones arrive while one
 * is decoded.
 */
async function readPieces(
  kv: Kv,
  revision: string,
  roll: Pick<RollCollector<NodeSummary>, 'add'>,
  { parallel, limit, cut }: { readonly parallel: number; readonly limit: number; readonly cut: boolean },
  signal: AbortSignal,
): Promise<void> {
  const pieces = pieceBounds();
  const work = async (signal: AbortSignal): Promise<void> => {
    for (let piece = pieces.shift(); piece; ) {
      const read: RangePage = await kv.range({ prefix: ROOT, ...piece, limit, cut, revision }, signal);
      roll.add(read.kvs);
      piece = read.next === null ? pieces.shift() : { ...piece, from: read.next };
    }
  };
  await allOrNone(parallel, work, signal);
}

/**
 * Runs `work` that many times in parallel. The first failure aborts the others, and is thrown when all have ended: a new
 * attempt must not compete with answers that are no longer needed.
 */
async function allOrNone(times: number, work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal) {
  signal.throwIfAborted();
  using stop = linkSignals(signal);
  // A second abort has no effect: the reason stays the first failure.
  const runs = Array.from({ length: times }, () => work(stop.signal).catch((error) => stop.abort(error)));
  await Promise.all(runs);
  stop.signal.throwIfAborted();
}

interface Piece {
  readonly from: string;
  readonly to?: string;
}

/**
 * Ids at which to cut the records, so that EC2's long ids (`i-0` and 16 random digits) and its old ones (8 digits) are
 * spread evenly: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html. Presences are small.
 */
const CUTS = ['i-02', 'i-04', 'i-06', 'i-08', 'i-0a', 'i-0c', 'i-0e', 'i-1', 'i-8'];

function pieceBounds(): Piece[] {
  const starts = [ROOT, RECORDS, ...CUTS.map(recordKey)];
  return starts.map((from, index) => {
    const to = starts[index + 1];
    return to === undefined ? { from } : { from, to };
  });
}

/** Decodes the raw changes of one revision. A foreign key is `skipped` when written and `unskipped` when deleted. */
export function interpretBatch(batch: KvBatch): WatchBatch {
  const { events, ...rest } = batch;
  return { ...rest, changes: events.flatMap(interpretEvent) };
}

function interpretEvent({ key, value, previous }: KvEvent): Change[] {
  if (!key.startsWith(ROOT)) return [];
  const parsed = parseKey(key);
  if (parsed.kind === 'foreign')
    return [value === null ? { kind: 'unskipped', key: named(key) } : skippedChange(key, parsed.reason)];
  if (parsed.kind === 'difference') {
    const now = readable(key, value, decodeDifference);
    const { value: before } = readable(key, previous, decodeDifference);
    return [{ kind: 'difference', key, difference: now.value, previous: before }, ...now.skipped];
  }
  const { instanceId } = parsed;
  if (parsed.kind === 'record') {
    const now = readable(key, value, (json) => decodeRecord(instanceId, json));
    const before = readable(key, previous, (json) => decodeRecord(instanceId, json));
    return [{ kind: 'record', instanceId, record: now.value, previous: before.value }, ...now.skipped];
  }
  const now = readable(key, value, decodePresence);
  const before = readable(key, previous, decodePresence);
  return [{ kind: 'presence', instanceId, presence: now.value, previous: before.value }, ...now.skipped];
}

function readable<T>(
  key: string,
  json: string | null,
  decode: (json: string) => Decoded<T>,
): { readonly value: T | null; readonly skipped: Change[] } {
  if (json === null) return { value: null, skipped: [] };
  const decoded = decode(json);
  return decoded.ok
    ? { value: decoded.value, skipped: [] }
    : { value: null, skipped: [skippedChange(key, decoded.reason)] };
}

function skippedChange(key: string, reason: string): Change {
  return { kind: 'skipped', skipped: { key: named(key), reason } };
}

/** A sample of this size distinguishes a few nodes from a third of all. Each lease costs one request. */
export const MAX_ASKED_PRESENCES = 32;

/** `Store.overdue` over any key-value store. */
export async function countOverdue(kv: Kv, instanceIds: readonly string[], signal: AbortSignal): Promise<OverdueCount> {
  const reads = instanceIds.slice(0, MAX_ASKED_PRESENCES).map(presenceKey);
  if (reads.length === 0) return { asked: 0, overdue: 0 };
  const presences = await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
  // A presence that was written by hand has no lease and never ends.
  const leases = presences.reads.flatMap((presence) => (presence && presence.lease !== '0' ? [presence.lease] : []));
  // The caller took all of them for present: a presence that is gone has only just ended, so it counts.
  const gone = presences.reads.filter((presence) => presence === null).length;
  const times = await kv.remaining(leases, signal);
  return { asked: gone + leases.length, overdue: gone + times.filter(isOverdue).length };
}

/** A lease that ended between the two reads is overdue, too. */
function isOverdue(time: LeaseTime | null): boolean {
  return time === null || time.remainingMs < time.grantedMs / 2;
}
