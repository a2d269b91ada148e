import type { EventKind, Uncertainty } from '../record/event.ts';
import type { InstanceJson } from '../record/instance-json.ts';
import type { HealthStatus } from '../record/record.ts';
import type { PresenceState, SkippedKey } from '../record/roll.ts';
import type { RollEventType, WatchedEvent } from './roll-cloud-event.ts';

/** Reads the roll from a store or from an agent. Nothing connects before the first call; all calls share what they open. */
export interface RollcallClient {
  /**
   * The roll now; in an outage the last one known, with its age and `stale: true`.
   * Rejects with a `StoreError` or an `AgentError` when none is known, with a `DeadlineError` after `timeoutMs`, or with
   * the reason of `signal`.
   * A value that no node can have is a `UsageError`.
   */
  list(options?: ListOptions): Promise<RollList>;

  /**
   * Events in order and without end, each at least once or covered by a new snapshot (see `WatchOptions.since`). It
   * lives through outages, and through a consumer that falls behind, by connecting again where it was.
   * The iteration ends with `close()` or when the loop is left, which frees what it held; it throws the reason of
   * `signal`, a `FutureRevisionError`, and what no new try can mend (a wrong password, a URL that is no agent's).
   * @throws UsageError for a malformed revision or an unknown type
   */
  watch(options?: WatchOptions): RollWatch;

  /** Ends what is under way (watches without an error) and frees every connection, file and timer. */
  close(): Promise<void>;
}

/** Each takes one value or several, of which a node must have one. */
export interface ListOptions {
  readonly cluster?: string | readonly string[];
  readonly health?: HealthStatus | readonly HealthStatus[];
  /** Default `present`. */
  readonly presence?: PresenceState | 'all' | readonly (PresenceState | 'all')[];
  readonly az?: string | readonly string[];
  readonly signal?: AbortSignal;
  /** Default 10,000. */
  readonly timeoutMs?: number;
}

/** The body of `/v1/containerInstances`. */
export interface RollList {
  readonly containerInstances: readonly InstanceJson[];
  /** A decimal number as text: etcd's are 64 bits wide. */
  readonly revision: string;
  /** The roll is at most this old. */
  readonly ageMs: number;
  /** Nobody can say whether it is still so: the store is away. */
  readonly stale: boolean;
  /** Not null while so many nodes have vanished at once that the store or the network may be what failed. */
  readonly uncertainty: Uncertainty | null;
  /** What could not be read. */
  readonly skipped: readonly SkippedKey[];
}

export interface WatchOptions {
  /**
   * The `cursor` of the last event that was handled: the watch goes on after it. Without it, and where the store no longer
   * has what came after it, the watch begins with a snapshot: an event for each node, then `rollcall.roll.synced`.
   */
  readonly since?: string | null;
  readonly cluster?: string | readonly string[];
  /** Short (`lost`) or full (`rollcall.instance.lost`). */
  readonly types?: readonly (EventKind | RollEventType)[];
  readonly signal?: AbortSignal;
  /** Told what broke each time the watch is about to connect again; a store's own retries stay quiet. */
  readonly onRetry?: (error: Error) => void;
}

/** One watch; it is iterated once. */
export interface RollWatch extends AsyncIterableIterator<WatchedEvent, void, undefined> {
  /** As the `cursor` of the last event, and newer where nothing happened that passes the filter. */
  readonly cursor: string | null;
  return(): Promise<IteratorResult<WatchedEvent, void>>;
}
