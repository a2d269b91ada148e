import type { NodeRecord } from '../record/record.ts';
import type { Roll, RollEntry, SkippedKey } from '../record/roll.ts';
import type { NodeSummary } from '../record/summary.ts';
import type { DrainSlots } from './drain-slots.ts';
import type { StoreServer } from './kv.ts';
import type { LeaderLocks } from './leader-lock.ts';
import type { OverdueCount, WatchBatch } from './read-roll.ts';

/**
 * The shared store as the rest of the program sees it, with its failure semantics.
 *
 * Every method rejects with a `StoreError` when the store cannot answer, with the signal's reason when `signal`
 * aborts, and within the store's own request deadline in any case. A rejected write may or may not have happened;
 * every write can therefore safely be sent again with the same arguments. The outcomes `lost` and `superseded` are not
 * errors: they are the store's answer about which session is registered.
 */
export interface Store {
  /** The URL without its password, for people. */
  readonly label: string;

  /**
   * Identifies this store's data: the same text for all its readers, whatever endpoints or spelling of a path they use.
   * etcd: the cluster's id in hex and the prefix, `cdf818194e3a8c32/rollcall`; the embedded store: 32 random hex digits
   * from when its tables were created. A store that is restored from a backup keeps its id.
   */
  id(signal: AbortSignal): Promise<string>;

  /**
   * Registers a session for `registration.instanceId`: record and presence become visible at one revision.
   * - `takeover: true` (a new agent): the session that started last wins. A registered session that started at the same
   *   instant or earlier is superseded: its writes and `untilNotHeld` answer `superseded` from then on. If the registered
   *   session started later (`Registration.since`), the answer is `superseded`.
   * - `takeover: false` (the same session after it lost its lease): answers `superseded` when another session is
   *   registered, unless that one certainly started earlier: a restored backup has its presence, and it is replaced.
   * The store may grant a longer presence TTL than asked (etcd's minimum); `hold.ttlMs` is what it granted.
   */
  register(registration: Registration, record: NodeRecord, options: RegisterOptions): Promise<RegisterOutcome>;

  /**
   * Heartbeat: renews the presence lease. Writes no revision and wakes no watcher. `lost`: the lease and with it the
   * presence is gone. A rejection says only that this heartbeat failed; the lease may be alive.
   */
  renew(hold: Hold, signal: AbortSignal): Promise<RenewOutcome>;

  /**
   * Resolves within a second of the registration's end in the store. `lost`: the lease ended, or something else deleted
   * the presence or the record. `superseded`: another session is registered, which did not start earlier. Writes
   * nothing. A rejection says nothing about the registration: call it again. Has no deadline of its own.
   */
  untilNotHeld(hold: Hold, signal: AbortSignal): Promise<NotHeld>;

  /**
   * Why the registration has ended in the store, at present; null: it has not. `lost` also where the record is not the one
   * that this hold wrote last, or the presence is that of an earlier session, as after a restore from a backup. Writes
   * nothing.
   */
  notHeld(hold: Hold, signal: AbortSignal): Promise<NotHeld | null>;

  /**
   * About how many other nodes there are, dead ones up to their retention included. Cheap, because it counts in a small
   * part of the fleet: of few nodes it most often says 0, and at times some hundreds.
   */
  otherNodes(instanceId: string, signal: AbortSignal): Promise<number>;

  /** As `renew`, for the retention lease, which keeps the last record readable after the presence is gone. */
  renewRetention(hold: Hold, signal: AbortSignal): Promise<RenewOutcome>;

  /**
   * Replaces the record, guarded by "the presence is still this session's". Nothing is written unless the outcome is
   * `written`. Of two updates of one session the later call wins: if the earlier one was rejected and reaches the store
   * late, its guard fails.
   */
  update(hold: Hold, record: NodeRecord, signal: AbortSignal): Promise<WriteOutcome>;

  /**
   * Deregisters: writes the record with its departure and removes the presence at one revision. Guarded as `update` is,
   * or, when the presence is already gone, by "this session wrote the record". Sent twice, it answers `written` twice.
   * The leases run out by themselves, but for the presence lease of a registration that may still be on its way: that is
   * ended, so that the store refuses what comes after the departure.
   */
  depart(hold: Hold, record: NodeRecord, signal: AbortSignal): Promise<WriteOutcome>;

  /** The whole roll at one revision, sorted by instance id. Foreign or broken keys are in `skipped`. */
  read(signal: AbortSignal, options?: ReadOptions): Promise<Roll>;

  /** The same with no more of each record than its summary, for a command that lists the roll and ends: in a hurry. */
  readSummaries(signal: AbortSignal): Promise<Roll<NodeSummary>>;

  /** One node at one revision; `entry` is null when the store has no record of the node. */
  readOne(instanceId: string, signal: AbortSignal): Promise<OneRead>;

  /**
   * All changes after `revision`, in order, each revision whole and exactly once, without end. It does not report the
   * retries it makes itself. It throws `CompactedError` when the store no longer has the changes after `revision` (read
   * a new snapshot and watch from there), `StoreError` when it cannot continue, and `signal`'s reason when that aborts.
   * A batch with `confirmedMsAgo` confirms that the reader is up to date at that revision: while the store answers, one
   * comes at least every 10 s.
   */
  watch(revision: string, signal: AbortSignal): AsyncIterable<WatchBatch>;

  /**
   * How many of these nodes missed a heartbeat: heartbeats come every third of the TTL, and a presence lease that has used
   * more than half of its granted TTL is overdue. Only the first `MAX_ASKED_PRESENCES` ids are read: pass a random sample
   * of present nodes. A presence that is gone counts as overdue; a presence without a lease is not counted. Writes no
   * revision.
   */
  overdue(instanceIds: readonly string[], signal: AbortSignal): Promise<OverdueCount>;

  /** As `Kv.server`. */
  server(signal: AbortSignal): Promise<StoreServer>;

  /** Leader election among the agents. */
  readonly leaderLocks: LeaderLocks;
  /** Which nodes may drain. */
  readonly drainSlots: DrainSlots;

  /** Frees connections and files. Running calls reject. */
  close(): Promise<void>;
}

/** What an agent registers with: its node, its session and how long each lease lasts without a renewal. */
export interface Registration {
  readonly instanceId: string;
  readonly session: string;
  /** When this agent process started (RFC 3339). */
  readonly since: string;
  /** Of the presence lease. Whole seconds, at least the store's minimum. */
  readonly ttlMs: number;
  /** Of the retention lease. Whole seconds, at least `ttlMs`. */
  readonly retentionMs: number;
}

interface ReadOptions {
  /** Reads all pages at once and needs more memory: for a command that prints the roll and ends. Default: false. */
  readonly hurry?: boolean;
}

export interface RegisterOptions {
  readonly takeover: boolean;
  readonly signal: AbortSignal;
  /**
   * Called with the registration right before it is sent to the store, and with null when the store certainly did not carry
   * it out. If `register` rejects and the last call had a hold, `depart` with that hold ends what may be registered.
   */
  readonly onSent?: (hold: Hold | null) => void;
}

/** A registration that the store accepted. The leases are the store's identifiers: opaque to everything else. */
export interface Hold {
  readonly registration: Registration;
  readonly ttlMs: number;
  readonly presenceLease: string;
  readonly retentionLease: string;
  /** The registration was sent before without an answer, and may still be on its way: a departure has to end its lease. */
  readonly mayComeLate: boolean;
}

export type RegisterOutcome =
  | { readonly kind: 'registered'; readonly hold: Hold; readonly revision: string }
  | Superseded;
export type RenewOutcome = { readonly kind: 'renewed' } | { readonly kind: 'lost' };
export type WriteOutcome = { readonly kind: 'written'; readonly revision: string } | NotHeld;
export type NotHeld = { readonly kind: 'lost' } | Superseded;
/** `by`: the session that is registered now. */
export type Superseded = { readonly kind: 'superseded'; readonly by: string };

interface OneRead {
  readonly revision: string;
  readonly entry: RollEntry | null;
  readonly skipped: readonly SkippedKey[];
}
