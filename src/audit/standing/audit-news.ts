import { type AuditSummary, decodeSummary } from './audit-summary.ts';

/** What an agent knows of the summary in the store, and for how long. */
export interface AuditNews {
  readonly text: string | null;
  /** null: there is none, or none that can be read. */
  readonly summary: AuditSummary | null;
  /** Why the summary cannot be read; null: it can, or there is none. */
  readonly unreadable: string | null;
  readonly run: Arrival | null;
  readonly result: Arrival | null;
}

/** When something was first seen here, and how old it was then. */
interface Arrival {
  readonly id: string;
  readonly atMs: number;
  readonly oldMs: number;
}

interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/**
 * The news after a look at the store; pure. What comes while we look is new, whatever the clock of its writer says; only
 * of what was there before the first look is the age told by both wall clocks.
 */
export function heed(before: AuditNews | null, text: string | null, now: Moment): AuditNews {
  if (before !== null && text === before.text) return before;
  if (text === null) return { text, summary: null, unreadable: null, run: null, result: null };
  const decoded = decodeSummary(text);
  if (!decoded.ok) return { text, summary: null, unreadable: decoded.reason, run: null, result: null };
  const summary = decoded.value;
  const arrival = (last: Arrival | null | undefined, by: { readonly session: string }, at: string): Arrival => {
    const id = `${by.session} ${at}`;
    if (last?.id === id) return last;
    return { id, atMs: now.monotonicMs, oldMs: before === null ? Math.max(0, now.wallMs - Date.parse(at)) : 0 };
  };
  const { lastRun, result } = summary;
  return {
    text,
    summary,
    unreadable: null,
    run: arrival(before?.run, lastRun.by, lastRun.endedAt),
    result: result && arrival(before?.result, result.by, result.finishedAt),
  };
}

/** @param nowMs on the monotonic clock */
export function ageMs(arrival: Arrival, nowMs: number): number {
  return arrival.oldMs + nowMs - arrival.atMs;
}
