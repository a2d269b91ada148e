import { RollcallError } from '../lib/errors.ts';
import type {
  AuditData,
  CertainData,
  CloudEvent,
  InstanceData,
  SyncedData,
  UncertainData,
} from '../record/cloud-event.ts';
import type { EventKind, InstanceEventKind, Uncertainty } from '../record/events.ts';
import type { FilterTexts } from '../record/filter.ts';
import type { HealthStatus, NodeRecord } from '../record/record.ts';
import type { InstanceJson, PresenceState, SkippedKey } from '../record/roll.ts';
import type { MassLossLimits } from '../registry/mass-loss.ts';

/** The data of each event type. */
export type RollEventData = {
  readonly [Kind in Exclude<InstanceEventKind, 'forgotten'> as `rollcall.instance.${Kind}`]: NodeData;
} & {
  readonly 'rollcall.instance.forgotten': ForgottenData;
  readonly 'rollcall.roll.synced': SyncedData;
  readonly 'rollcall.roll.uncertain': UncertainData;
  readonly 'rollcall.roll.certain': CertainData;
  readonly 'rollcall.audit.difference': AuditData;
  readonly 'rollcall.audit.resolved': AuditData;
};
export type RollEventType = keyof RollEventData;

/** The node after the event. */
export interface NodeData extends InstanceData {
  readonly record: NodeRecord;
  readonly presence: InstanceJson['presence'];
}

/** The store no longer has the node's record. */
export interface ForgottenData extends InstanceData {
  readonly record: null;
  readonly presence: null;
}

/** A CloudEvent as a union over `type`: `if (event.type === 'rollcall.roll.synced')` narrows `data`. */
export type RollCloudEvent = { readonly [Type in RollEventType]: OfType<Type> }[RollEventType];

type OfType<Type extends RollEventType> = Omit<CloudEvent, 'type' | 'subject' | 'data'> &
  (Type extends `rollcall.instance.${string}`
    ? { readonly subject: string }
    : { readonly subject?: Type extends `rollcall.audit.${string}` ? string : never }) & {
    readonly type: Type;
    readonly data: RollEventData[Type];
  };

/** An event of `watch()`, with the cursor that is valid after it is handled. */
export type WatchedEvent = RollCloudEvent & {
  /**
   * After this event is handled, pass it as `since` to the next watch: no later event is missed, but the last handled ones
   * may be repeated. null: a snapshot is not complete yet; the next watch must start with a snapshot.
   */
  readonly cursor: string | null;
};

/** Reads the roll from a store or from an agent. Connects at the first call; all calls share the connection. */
export interface RollcallClient {
  /**
   * The current roll; in an outage the last known one, with its age and `stale: true`.
   * Rejects with a `StoreError` or an `AgentError` if no roll is known, with a `DeadlineError` after `timeoutMs`, with the
   * reason of `signal`, or with a `UsageError` for an invalid option.
   */
  list(options?: ListOptions): Promise<RollList>;

  /**
   * Endless events in order, each at least once or covered by a new snapshot (see `WatchOptions.since`). After an outage, or
   * if the consumer is too slow, the watch reconnects and continues after its cursor.
   * The iteration ends with `close()` or when the loop is left; both free its connection. It throws the reason of `signal`,
   * a `FutureRevisionError`, and errors that a retry cannot fix (a wrong password, a URL that is not an agent's).
   * @throws UsageError for an invalid revision or an unknown type
   */
  watch(options?: WatchOptions): RollWatch;

  /** Ends all calls (watches end without an error) and frees all connections, files and timers. */
  close(): Promise<void>;
}

/** Each criterion has one or several values. A node must match one value of each criterion, and every term of the selector. */
export interface FilterOptions {
  /** Names or ARNs of ECS clusters. */
  readonly cluster?: string | readonly string[];
  readonly health?: HealthStatus | readonly HealthStatus[];
  /** Default of `list()`: `present`. */
  readonly presence?: PresenceState | 'all' | readonly (PresenceState | 'all')[];
  /** Names of availability zones. */
  readonly az?: string | readonly string[];
  /** Conditions on labels: `key=value`, `key!=value`, `key`, `!key`. */
  readonly selector?: string | readonly string[];
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Default 10,000. */
  readonly timeoutMs?: number;
}

export interface ListOptions extends FilterOptions, CallOptions {
  /** At most so many nodes, 1 to 10,000, in the order of their ids; default all. */
  readonly limit?: number;
  /** Only nodes whose instance id comes after this one: the `next` of the page before. */
  readonly after?: string | null;
}

/** The body of `/v1/containerInstances`. */
export interface RollList {
  readonly containerInstances: readonly InstanceJson[];
  /** A decimal number as text: etcd's are 64 bits wide. */
  readonly revision: string;
  /** The roll is at most this old. */
  readonly ageMs: number;
  /** True if the roll may have changed since, because the store does not answer. */
  readonly stale: boolean;
  /** Not null during a mass loss, when the store or the network may have failed. */
  readonly uncertainty: Uncertainty | null;
  /** Keys that could not be read. */
  readonly skipped: readonly SkippedKey[];
  /** Lines on clusters, zones and labels asked for that no node has, and on records of which a field could not be read. */
  readonly notes: readonly string[];
  /** More nodes follow than `limit` lets in: the `after` of the next page; null: these are all. */
  readonly next: string | null;
}

/** With filters, the watch has the events with which a node enters, changes within, or leaves what they accept. */
export interface WatchOptions extends FilterOptions {
  /**
   * The `cursor` of the last handled event; the watch continues after it. Without it, or if the store no longer has the
   * later events, the watch starts with a snapshot: an event for each node, then `rollcall.roll.synced`.
   */
  readonly since?: string | null;
  /**
   * Default true: of many losses at once none is sent before `rollcall.roll.certain`, and none of a node that returned
   * meanwhile. false: each `lost` is sent at once, with `data.uncertain` until it is certain.
   */
  readonly hold?: boolean;
  /** Short (`lost`) or full (`rollcall.instance.lost`); several in a list or comma-separated, as in the filters. */
  readonly types?: string | readonly (EventKind | RollEventType)[];
  readonly signal?: AbortSignal;
  /** Called with the error each time before the watch reconnects. Retries inside a store are not reported. */
  readonly onRetry?: (error: Error) => void;
  /**
   * Called for each event of an agent that this version cannot read, as of a node whose agent is newer, with the node's id and
   * the reason. A map that `applyEvent` keeps equals `list()` where the node is deleted from it.
   */
  readonly onSkipped?: (skipped: SkippedKey) => void;
}

/** One watch; it is iterated once. */
export interface RollWatch extends AsyncIterableIterator<WatchedEvent> {
  /** The `cursor` of the last event, or a newer one if later events did not pass the filter. */
  readonly cursor: string | null;
  return(): Promise<IteratorResult<WatchedEvent, void>>;
}

export interface ConnectOptions {
  /** PEM files for `etcds://` and `https://`. They are read for each connection, so that replaced files are used. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** The token that an agent asks for, or a file with it, which is read for each request. */
  readonly token?: string;
  readonly tokenFile?: string;
  /** The etcd user; both take precedence over those in the URL. */
  readonly user?: string;
  readonly password?: string;
  /**
   * The limits of a mass loss, during which `lost` events are uncertain: more than this share (0 to 1) of the nodes and at
   * least this count. null: none is uncertain. Default 0.3 and 5. For an agent's URL the agent's setting applies.
   */
  readonly massLoss?: MassLossLimits | null;
  /** An abort closes the client; calls in progress reject with its reason. */
  readonly signal?: AbortSignal;
}

/**
 * The source of a client: a store or an agent. An aborted signal ends each call with any error; `createClient` replaces it
 * with the signal's reason.
 */
export interface RollSource {
  /** For messages. */
  readonly label: string;
  /** @param query of `/v1/containerInstances` */
  list(query: URLSearchParams, signal: AbortSignal): Promise<RollList>;
  /**
   * Events until the connection ends, with or without an error; first a batch that is empty, as soon as the source answers,
   * since there may be no event for hours. Leaving the loop frees the connection.
   */
  stream(request: StreamRequest, signal: AbortSignal): AsyncIterable<CloudBatch>;
  close(): Promise<void>;
}

export interface StreamRequest {
  /** null: start with a snapshot. */
  readonly since: string | null;
  /** The filters, as in a query of `/v1/events`. */
  readonly nodes: FilterTexts;
  /** null: all kinds. */
  readonly kinds: readonly EventKind[] | null;
  /** Uncertain losses are held back. */
  readonly hold: boolean;
}

export interface CloudBatch {
  readonly events: readonly RollCloudEvent[];
  /** The cursor after the batch is handled; null: a snapshot is not complete; absent: unchanged. */
  readonly cursor?: string | null;
  /** An event that could not be read is left out. */
  readonly skipped?: SkippedKey;
}

/** The next step where something else than an agent answers: the end of an `AgentError`. */
export const OWN_URL = 'use the URL of a rollcall agent';

/** The agent did not answer, refused the request, or sent an invalid answer. */
export class AgentError extends RollcallError {
  override readonly name = 'AgentError';
  override readonly retryable: boolean;
  /** HTTP status; null without an answer. */
  readonly status: number | null;
  /** The `Retry-After` of the answer; 0 without one. */
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
