import type { NodeRecord, Presence } from '../record/record.ts';
import type { Roll, RollEntry, SkippedKey } from '../record/roll.ts';
import type { DrainSlots } from './drain-slots.ts';
import type { Offices } from './offices.ts';

/**
 * The shared store as the rest of the program sees it, with its failure semantics.
 *
 * Every method rejects with a `StoreError` when the store cannot answer, with the signal's reason when `signal`
 * aborts, and within the store's own request deadline in any case. A rejected write may or may not have happened;
 * every write may therefore be sent again with the same arguments without harm. What a write's outcome says
 * (`lost`, `superseded`) is not an error: it is an answer of the store about who holds the seat.
 */
export interface Store {
  /** The URL without its password, for people. */
  readonly label: string;

  /**
   * Tells this store's data apart from any other's: the same text for all its readers, whatever endpoints or spelling of
   * a path they use. etcd: the cluster's id in hex and the prefix, `cdf818194e3a8c32/rollcall`; the embedded store: 32
   * hex digits drawn when its tables were made. It stays what it was in a store that is restored from a backup.
   */
  id(signal: AbortSignal): Promise<string>;

  /**
   * Takes the seat of `seat.instanceId`: record and presence become visible at one revision.
   * - `takeover: true` (a new agent): the newest start wins. A session that holds the seat since the same instant or an
   *   earlier one loses it: its writes say `superseded` from then on, its beats at the latest by the third. One that
   *   holds it since later (`Seat.since`) keeps it, and the answer is `superseded`.
   * - `takeover: false` (the same session after it lost its lease): answers `superseded` when another session holds the seat.
   * The store may grant a longer presence TTL than asked (etcd's minimum); `hold.ttlMs` is what it granted.
   */
  register(seat: Seat, record: NodeRecord, options: RegisterOptions): Promise<RegisterOutcome>;

  /**
   * Keeps the presence lease alive. Writes no revision and wakes no watcher. `lost`: the lease is gone and with it the
   * presence, or, which every third beat looks for, somebody deleted the presence or the record. `superseded`: another
   * session was found there. A rejection says only that this beat failed; the lease may be alive.
   */
  renew(hold: Hold, signal: AbortSignal): Promise<RenewOutcome>;

  /** The same for the retention lease, which keeps the last record readable after the presence is gone. */
  renewRetention(hold: Hold, signal: AbortSignal): Promise<RenewOutcome>;

  /**
   * Replaces the record, guarded by "the presence is still this hold's". Nothing is written unless the outcome is
   * `written`. Of two updates of one hold the later call wins, even when the earlier one was rejected and the store
   * carries it out late: then it is not carried out at all.
   */
  update(hold: Hold, record: NodeRecord, signal: AbortSignal): Promise<WriteOutcome>;

  /**
   * Writes the record (with its departure) and removes the presence at one revision, guarded as `update`, or, when the
   * presence is already gone, by "the record is still the one this hold wrote". Sent twice, it answers `written` twice.
   * The hold is over then; its leases run out by themselves.
   */
  depart(hold: Hold, record: NodeRecord, signal: AbortSignal): Promise<WriteOutcome>;

  /** The whole roll at one revision. Foreign or broken keys are in `skipped`. Entries are in the order of their ids. */
  read(signal: AbortSignal, options?: ReadOptions): Promise<Roll>;

  /** One node at one revision; `entry` is null when the store has no record of it. */
  readOne(instanceId: string, signal: AbortSignal): Promise<OneRead>;

  /**
   * All changes after `revision`, in order, each revision whole and exactly once, without end. It is quiet about
   * retries it makes itself; it throws `CompactedError` when the store no longer has the changes after `revision` (read
   * a new snapshot and watch from there), and `StoreError` when it cannot go on. Ends by `signal`'s reason.
   * A batch with no changes confirms that the reader is up to date at that revision: one comes at least every 10 s
   * while the store answers.
   */
  watch(revision: string, signal: AbortSignal): AsyncIterable<WatchBatch>;

  /**
   * How many of these nodes' presences have used up more than half of their granted TTL and so missed their beat, which
   * comes each third of it. At most the first `MAX_ASKED_PRESENCES` ids are asked for: give a random sample of more.
   * The caller believes that they are present: one whose presence is gone counts as overdue, one whose presence has no
   * lease does not count at all. Writes nothing, and no revision.
   */
  overdue(instanceIds: readonly string[], signal: AbortSignal): Promise<OverdueCount>;

  /** Work of which one agent of the fleet is in charge. */
  readonly offices: Offices;
  /** Which nodes may drain; beside the roll. */
  readonly drainSlots: DrainSlots;

  /** Frees connections and files. Calls under way reject. */
  close(): Promise<void>;
}

/** Who registers, and for how long without a beat. */
export interface Seat {
  readonly instanceId: string;
  readonly session: string;
  /** When this agent started (RFC 3339). */
  readonly since: string;
  /** Whole seconds, at least the store's minimum. */
  readonly ttlMs: number;
  /** Whole seconds, at least `ttlMs`. */
  readonly retentionMs: number;
}

export interface ReadOptions {
  /** All at once, whatever it takes in memory: for a command that prints the roll and ends. Default: false. */
  readonly hurry?: boolean;
}

export interface RegisterOptions {
  readonly takeover: boolean;
  readonly signal: AbortSignal;
}

/** A seat that was taken. The leases are the store's own identifiers: opaque outside of it. */
export interface Hold {
  readonly seat: Seat;
  readonly ttlMs: number;
  readonly presenceLease: string;
  readonly retentionLease: string;
}

export type RegisterOutcome =
  | { readonly kind: 'registered'; readonly hold: Hold; readonly revision: string }
  | Superseded;
export type RenewOutcome = { readonly kind: 'renewed' } | { readonly kind: 'lost' } | Superseded;
export type WriteOutcome =
  | { readonly kind: 'written'; readonly revision: string }
  | { readonly kind: 'lost' }
  | Superseded;
/** `by` is the session that holds the seat now. */
export type Superseded = { readonly kind: 'superseded'; readonly by: string };

export interface OneRead {
  readonly revision: string;
  readonly entry: RollEntry | null;
  readonly skipped: readonly SkippedKey[];
}

export interface OverdueCount {
  readonly asked: number;
  readonly overdue: number;
}

/** What happened to one node in one revision, or to a key that is none of ours. `null`: not there (deleted, lease ran out, or never was). */
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
  | { readonly kind: 'skipped'; readonly skipped: SkippedKey }
  /** A key that is none of ours was deleted. */
  | { readonly kind: 'unskipped'; readonly key: string };

/** All changes of one revision. A record that became unreadable is a change to `null` and a `skipped`. */
export interface WatchBatch {
  readonly revision: string;
  readonly changes: readonly Change[];
}
