import { RollcallError } from '../lib/errors.ts';
import type { CertainData, CloudEvent, InstanceData, SyncedData, UncertainData } from '../record/cloud-event.ts';
import type { EventKind, InstanceEventKind, Uncertainty } from '../record/events.ts';
import type { HealthStatus, NodeRecord } from '../record/record.ts';
import type { InstanceJson, PresenceState, SkippedKey } from '../record/roll.ts';
import type { MassLossLimits } from '../registry/mass-loss.ts';

/** What the data of an event holds, by its type. */
export type RollEventData = {
  readonly [Kind in Exclude<InstanceEventKind, 'forgotten'> as `rollcall.instance.${Kind}`]: NodeData;
} & {
  readonly 'rollcall.instance.forgotten': ForgottenData;
  readonly 'rollcall.roll.synced': SyncedData;
  readonly 'rollcall.roll.uncertain': UncertainData;
  readonly 'rollcall.roll.certain': CertainData;
};
export type RollEventType = keyof RollEventData;

/** The node as it is after the event. */
export interface NodeData extends InstanceData {
  readonly record: NodeRecord;
  readonly presence: InstanceJson['presence'];
}

/** The node's last record is no longer kept. */
export interface ForgottenData extends InstanceData {
  readonly record: null;
  readonly presence: null;
}

/** An event as `CloudEvent` has it, told apart by its `type`: `if (event.type === 'rollcall.roll.synced')` narrows `data`. */
export type RollCloudEvent = { readonly [Type in RollEventType]: OfType<Type> }[RollEventType];

type OfType<Type extends RollEventType> = Omit<CloudEvent, 'type' | 'subject' | 'data'> &
  (Type extends `rollcall.instance.${string}` ? { readonly subject: string } : { readonly subject?: never }) & {
    readonly type: Type;
    readonly data: RollEventData[Type];
  };

/** What `watch()` yields: the event, and how far one is once it is handled. */
export type WatchedEvent = RollCloudEvent & {
  /**
   * The revision to pass as `since` next time, once this event is handled: nothing after it is missed, though what was
   * handled last may be told again. null: a snapshot is not complete yet, there is nothing to go on from.
   */
  readonly cursor: string | null;
};

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

export interface ConnectOptions {
  /** PEM files for `etcds://`; they are read again for each connection, so that rotated ones are taken up. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Of etcd; they outrank those in the URL. */
  readonly user?: string;
  readonly password?: string;
  /**
   * When `lost` events are held back because too many nodes vanished at once: more than this share (0 to 1) of them and
   * at least so many. null: never. Default 0.3 and 5. At an agent's URL it is the agent's setting that counts.
   */
  readonly massLoss?: MassLossLimits | null;
  /** Its abort closes the client; what is under way rejects with its reason. */
  readonly signal?: AbortSignal;
}

/**
 * Where a client reads from: a store of its own, or an agent that reads for it. An aborted signal ends every call, with
 * whatever error; it is `createClient` that tells the caller the reason.
 */
export interface RollSource {
  /** For people. */
  readonly label: string;
  /** @param query as `/v1/containerInstances` takes it */
  list(query: URLSearchParams, signal: AbortSignal): Promise<RollList>;
  /** Events until the connection breaks: then it throws, or ends. Leaving the loop frees what it holds. */
  stream(request: StreamRequest, signal: AbortSignal): AsyncIterable<CloudBatch>;
  close(): Promise<void>;
}

export interface StreamRequest {
  /** null: begin with a snapshot. */
  readonly since: string | null;
  /** null: all, as the next. */
  readonly cluster: readonly string[] | null;
  readonly kinds: readonly EventKind[] | null;
}

export interface CloudBatch {
  readonly events: readonly RollCloudEvent[];
  /** Whoever has handled the batch may resume after it; null: a snapshot is not complete; left out: as far as before. */
  readonly cursor?: string | null;
}

/** An agent did not answer, refused, or answered with what no agent says. */
export class AgentError extends RollcallError {
  override readonly name = 'AgentError';
  override readonly retryable: boolean;
  /** HTTP status; null where no answer came. */
  readonly status: number | null;
  /** How long the agent asks to be left alone; 0 where it asks nothing. */
  readonly retryAfterMs: number;

  constructor(
    message: string,
    options: { retryable: boolean; status?: number; retryAfterMs?: number; cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.retryable = options.retryable;
    this.status = options.status ?? null;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
}
