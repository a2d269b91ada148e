import type { NodeRecord, Presence } from '../record/record.ts';
import type { Roll, RollEntry, SkippedKey } from '../record/roll.ts';

/**
 * How many nodes of a cluster may drain at once, agreed among all agents through the store. A claim holds a slot from
 * before its node is drained until it is active again.
 *
 * Methods fail as `Store`'s do. A rejected write may or may not have happened; each may be sent again without harm.
 */
export interface DrainSlots {
  /** This node's claim; null: it has none. */
  read(instanceId: string, signal: AbortSignal): Promise<HeldClaim | null>;

  /**
   * Takes a slot if one is free at this moment: there is always one, else floor(share × present nodes of the cluster).
   * Two agents never both get the last one. A node that has a claim gets it back as it is.
   */
  take(request: SlotRequest, signal: AbortSignal): Promise<TakeOutcome>;

  /** Replaces the claim, on the same lease; null when it is no longer as `held` has it. */
  replace(held: HeldClaim, claim: DrainClaim, signal: AbortSignal): Promise<HeldClaim | null>;

  /** Restarts the claim's time; false: it is gone. Writes no revision. */
  renew(held: HeldClaim, signal: AbortSignal): Promise<boolean>;

  /** Does nothing when the claim is no longer as `held` has it. */
  giveBack(held: HeldClaim, signal: AbortSignal): Promise<void>;
}

/**
 * - `claimed`: has a slot; ECS was not asked yet. - `asked`: ECS had the node ACTIVE and is being asked to drain it; if it
 * is DRAINING now, that was rollcall. - `drained`: rollcall had ECS drain it. - `overruled`: somebody made it ACTIVE again;
 * it takes no slot, and only remembers that until the cause is over.
 */
export const CLAIM_PHASES = ['claimed', 'asked', 'drained', 'overruled'] as const;

/** The value of `coordination/v1/drains/<instanceId>`. */
export interface DrainClaim {
  readonly phase: (typeof CLAIM_PHASES)[number];
  /** Of the container instance that is drained. */
  readonly arn: string;
  readonly cluster: string;
  /** One line for a person. */
  readonly reason: string;
  /** RFC 3339. */
  readonly since: string;
  /** The agent process that made the claim. */
  readonly session: string;
}

/** A claim that is in the store. Lease and revision are the store's own: opaque outside of it. */
export interface HeldClaim {
  readonly instanceId: string;
  readonly claim: DrainClaim;
  readonly lease: string;
  readonly revision: string;
}

export interface SlotRequest {
  readonly instanceId: string;
  readonly claim: DrainClaim;
  /** Of the present nodes of the cluster, 0 to 100. */
  readonly maxSharePercent: number;
}

export type TakeOutcome =
  | { readonly kind: 'taken'; readonly held: HeldClaim }
  /**
   * `reason`: one line that says how many are taken, of how many. `keepsLockMs`: for so long nobody else looks whether a
   * slot became free; who asks again before goes on looking for all, and writes nothing. null: another does.
   */
  | { readonly kind: 'full'; readonly reason: string; readonly keepsLockMs: number | null }
  /** Another agent is being served; come again. */
  | { readonly kind: 'busy' };

/**
 * Work of which one agent of the fleet is in charge. The office is a key bound to a lease: it falls vacant when its
 * holder resigns, or is silent for the lease's TTL. What the holder publishes is fenced: the store takes it only while
 * the key is still the one that this reign made, so that of a holder who was paused or cut off nothing arrives late.
 *
 * Methods reject as those of `Store` do. All of a reign's calls are to be made one after the other.
 */
export interface LeaderLocks {
  /** Who holds the office, and what was published, at one revision. Writes nothing. */
  read(lock: string, documents: readonly string[], signal: AbortSignal): Promise<LeaderLockState>;

  /**
   * Takes the office where it is vacant, or goes on with it where this session holds it already: so after an answer that
   * was lost. Only a vacant office costs a write.
   */
  campaign(lock: string, candidate: Candidate, signal: AbortSignal): Promise<CampaignOutcome>;

  /** Restarts the lease's time and looks whether the office is still this reign's. Writes no revision. */
  renew(term: Term, signal: AbortSignal): Promise<'renewed' | 'lost'>;

  /**
   * Writes all of these documents at one revision, or none. Of two publications of one reign the later one wins, even
   * where the earlier one was rejected and the store would carry it out late.
   * @param documents name → text, `summary` among them
   */
  publish(term: Term, documents: Documents, signal: AbortSignal): Promise<PublishOutcome>;

  /** Leaves the office vacant, unless somebody else holds it. */
  resign(term: Term, signal: AbortSignal): Promise<void>;
}

export interface Candidate {
  readonly session: string;
  readonly instanceId: string | null;
  /** Whole seconds. The store may grant more; `Reign.ttlMs` is what it granted. */
  readonly ttlMs: number;
}

export interface Holder {
  readonly session: string;
  /** null where its holder did not know it. */
  readonly instanceId: string | null;
}

export interface LeaderLockState {
  readonly revision: string;
  /** null: vacant. */
  readonly holder: Holder | null;
  /** In the order they were asked for; null where there is none. */
  readonly documents: readonly (string | null)[];
}

/** An office that was taken. */
export interface Term {
  readonly lock: string;
  readonly session: string;
  readonly ttlMs: number;
  /** Of the key that this reign made: the fence. */
  readonly revision: string;
  /** The store's own identifier: opaque outside of it. */
  readonly lease: string;
}

export type Documents = Readonly<Record<string, string>> & { readonly summary: string };

export type CampaignOutcome =
  | { readonly kind: 'elected'; readonly term: Term }
  | { readonly kind: 'taken'; readonly by: Holder };

/** `lost`: the store took nothing, because the office is not this reign's any more. */
export type PublishOutcome =
  | { readonly kind: 'published'; readonly revision: string }
  | { readonly kind: 'lost'; readonly by: Holder | null };

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
  register(registration: Registration, record: NodeRecord, options: RegisterOptions): Promise<RegisterOutcome>;

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
  readonly leaderLocks: LeaderLocks;
  /** Which nodes may drain; beside the roll. */
  readonly drainSlots: DrainSlots;

  /** Frees connections and files. Calls under way reject. */
  close(): Promise<void>;
}

/** Who registers, and for how long without a beat. */
export interface Registration {
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
  readonly registration: Registration;
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
