import { type AuditSummary, decodeAuditSummary } from './documents.ts';

/** An agent's copy of the summary in the store, with the ages of its last run and result. */
export interface SummaryCopy {
  readonly text: string | null;
  /** null: there is none, or none that can be read. */
  readonly summary: AuditSummary | null;
  /** Why the summary cannot be read; null: it can, or there is none. */
  readonly unreadable: string | null;
  readonly lastRun: FirstSeen | null;
  readonly result: FirstSeen | null;
}

/** When something was first read here, on the monotonic clock, and how old it was then. */
interface FirstSeen {
  readonly id: string;
  readonly atMs: number;
  readonly oldMs: number;
}

/**
 * The copy after a read of the store; pure. What was written after the first read is new when it is read, whatever the
 * clock of its writer says; only the age of what was there before is the difference of two wall clocks.
 * @param before null at the first read
 */
export function updateCopy(
  before: SummaryCopy | null,
  text: string | null,
  now: { readonly nowMs: number; readonly wallMs: number },
): SummaryCopy {
  if (before !== null && text === before.text) return before;
  const none = { text, summary: null, unreadable: null, lastRun: null, result: null };
  if (text === null) return none;
  const decoded = decodeAuditSummary(text);
  if (!decoded.ok) return { ...none, unreadable: decoded.reason };
  const summary = decoded.value;
  const firstSeen = (last: FirstSeen | null | undefined, by: { readonly session: string }, at: string): FirstSeen => {
    const id = `${by.session} ${at}`;
    if (last?.id === id) return last;
    return { id, atMs: now.nowMs, oldMs: before === null ? Math.max(0, now.wallMs - Date.parse(at)) : 0 };
  };
  const { lastRun, result } = summary;
  return {
    text,
    summary,
    unreadable: null,
    lastRun: firstSeen(before?.lastRun, lastRun.by, lastRun.endedAt),
    result: result && firstSeen(before?.result, result.by, result.finishedAt),
  };
}

/** @param nowMs on the monotonic clock */
export function ageMs({ oldMs, atMs }: FirstSeen, nowMs: number): number {
  return oldMs + nowMs - atMs;
}

/** A result that is older is stale: two audits are missing, and another agent had the time to become leader. */
export function staleAfterMs(intervalMs: number, presenceTtlMs: number): number {
  return 2 * intervalMs + presenceTtlMs;
}
