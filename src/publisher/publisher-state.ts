import type { NodeRecord } from '../record/record.ts';
import type { Hold } from '../store/store.ts';
import { Backoff } from '../timing/backoff.ts';
import type { Step } from './step.ts';

/** What the publisher wants the store to say of this node. */
export interface Desired {
  readonly record: NodeRecord;
  /** The record encoded: two equal records have equal text. */
  readonly json: string;
}

/** Where a session stands with its seat. Every instant is on the monotonic clock. */
export interface PublisherState {
  /**
   * - `unregistered`: never had the seat. - `held`: has it. - `lost`: had it; the lease is gone, or has to be presumed gone.
   * - `superseded`, `departed`: at the end; nothing more is written.
   */
  readonly phase: 'unregistered' | 'held' | 'lost' | 'superseded' | 'departed';
  /** The newest seat this session took; kept when lost, because a departure still needs it. */
  readonly hold: Hold | null;
  /** When the newest beat that the store confirmed was *sent*: its lease lives at least a TTL from then. */
  readonly beatAtMs: number;
  readonly nextBeatAtMs: number;
  readonly nextRetentionBeatAtMs: number;
  /** What the store has of us, as encoded text; null when unknown. */
  readonly publishedJson: string | null;
  /** After a failure: no call before this instant. */
  readonly retryAtMs: number;
  readonly backoff: Backoff;
  /** null while calls succeed. */
  readonly lastError: string | null;
  /** What failed with `lastError`; only its own success, or a new registration, ends the trouble. */
  readonly failedAction: Step['action'] | null;
  readonly supersededBy: string | null;
  /** Who was found in the seat, started later than we, when we first asked for it; null where nobody was. */
  readonly contestedBy: string | null;
  readonly ttlMs: number;
  readonly counts: LeaseCounts;
}

/** Since the start of the process. */
export interface LeaseCounts {
  readonly registrations: number;
  /** Times the lease was found gone, or had to be presumed gone. */
  readonly losses: number;
  readonly beats: number;
  readonly failedBeats: number;
  readonly recordWrites: number;
  readonly storeErrors: number;
}

export function initialPublisherState(ttlMs: number): PublisherState {
  return {
    phase: 'unregistered',
    hold: null,
    beatAtMs: Number.NEGATIVE_INFINITY,
    nextBeatAtMs: 0,
    nextRetentionBeatAtMs: 0,
    publishedJson: null,
    retryAtMs: Number.NEGATIVE_INFINITY,
    // The ceiling derives from the TTL: after an outage every node is back well within one TTL of the store's return.
    backoff: new Backoff(Math.min(250, ttlMs / 12), ttlMs / 6),
    lastError: null,
    failedAction: null,
    supersededBy: null,
    contestedBy: null,
    ttlMs,
    counts: { registrations: 0, losses: 0, beats: 0, failedBeats: 0, recordWrites: 0, storeErrors: 0 },
  };
}
