import type { Holder, Reign } from '../../store/offices.ts';
import { Backoff } from '../../timing/backoff.ts';
import type { AuditMemory } from '../audit-memory.ts';
import { AUDIT_FAILURES, type AuditFailure } from './audit-failure.ts';
import type { AuditNews } from './audit-news.ts';

/** What an agent does next for the standing audit, and why. */
export type AuditorStep =
  | { readonly action: StoreAction; readonly reason: string }
  /** Neither asks the store: an audit begins beside the loop; the reign is taken for over. */
  | { readonly action: 'run' | 'step-down'; readonly reason: string }
  | { readonly action: 'wait'; readonly untilMs: number; readonly reason: string };

export type StoreAction = 'look' | 'campaign' | 'renew' | 'recall' | 'publish' | 'resign';

/** Where an agent stands with the standing audit. Every instant is on the monotonic clock. */
export interface AuditorState {
  /** null: somebody else leads, or nobody. */
  readonly tenure: Tenure | null;
  /** Who leads, as last seen; null: nobody, or not looked yet. */
  readonly holder: Holder | null;
  /** null before the first look that the store answered. */
  readonly news: AuditNews | null;
  readonly nextLookAtMs: number;
  readonly run: RunState;
  readonly nextRunAtMs: number;
  /** Audits in a row, of this reign, that came to no result. */
  readonly failedRuns: number;
  /** Not in charge again before this instant, should nobody else be. */
  readonly abstainUntilMs: number;
  /** After a failure: no call of the store before this instant. */
  readonly retryAtMs: number;
  readonly backoff: Backoff;
  /** null while the store answers. */
  readonly lastError: string | null;
  readonly failedAction: StoreAction | null;
  readonly counts: AuditCounts;
}

/** What a leader carries through its reign. */
export interface Tenure {
  readonly reign: Reign;
  /** When the newest renewal that the store confirmed was *sent*: the lease lives at least its TTL from then. */
  readonly confirmedAtMs: number;
  readonly nextRenewAtMs: number;
  /** null: what the leaders before knew has not been read yet. */
  readonly memory: AuditMemory | null;
  /** What the store has, as text; null: nothing. */
  readonly stored: { readonly details: string | null; readonly memory: string | null };
}

export type RunState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'running'; readonly startedAtMs: number }
  /** Ended, and not in the store yet. */
  | { readonly kind: 'ended'; readonly publication: Publication };

export interface Publication {
  readonly summary: string;
  /** null: the audit came to no result, and what the store has stays. */
  readonly found: { readonly details: string; readonly memoryText: string; readonly memory: AuditMemory } | null;
}

/** Since the start of the process. */
export interface AuditCounts {
  readonly elections: number;
  /** Audits that came to a result. */
  readonly results: number;
  readonly failures: Readonly<Record<AuditFailure, number>>;
  /** Results that the store did not take, because the reign was over. */
  readonly refused: number;
}

export const initialAuditorState: AuditorState = {
  tenure: null,
  holder: null,
  news: null,
  nextLookAtMs: Number.NEGATIVE_INFINITY,
  run: { kind: 'idle' },
  nextRunAtMs: Number.NEGATIVE_INFINITY,
  failedRuns: 0,
  abstainUntilMs: Number.NEGATIVE_INFINITY,
  retryAtMs: Number.NEGATIVE_INFINITY,
  backoff: new Backoff(500, 500),
  lastError: null,
  failedAction: null,
  counts: {
    elections: 0,
    results: 0,
    failures: Object.fromEntries(AUDIT_FAILURES.map((cause) => [cause, 0])) as Record<AuditFailure, number>,
    refused: 0,
  },
};
