import { harmless } from '../../lifecycle/harmless.ts';
import type { Task } from '../../lifecycle/run-group.ts';
import { unlessAborted } from '../../timing/unless-aborted.ts';
import { withDeadline } from '../../timing/with-deadline.ts';
import type { AuditReport } from '../audit-report.ts';
import { type AuditDetails, decodeDetails, reportOf } from './audit-details.ts';
import { type AuditNews, heed } from './audit-news.ts';
import { type AuditStatus, auditStatus } from './audit-status.ts';
import { type AuditSummary, decodeSummary } from './audit-summary.ts';
import { type AuditorState, initialAuditorState } from './auditor-state.ts';
import { type AuditorOptions, runAuditor } from './run-auditor.ts';

/** One agent's part in the standing audit, and what its HTTP side can say of it. */
export interface Auditor {
  /** Ends with its signal alone: a defect in it is told in the status. */
  readonly loop: Task<never>;
  status(): AuditStatus;
  /** The last result in full, from the store. Rejects as `Store` does. */
  read(signal: AbortSignal): Promise<AuditRead>;
}

/** All of it at one revision of the store. `report` is null where there is none, with what is wrong with it. */
export interface AuditRead {
  readonly revision: string;
  readonly summary: AuditSummary | null;
  readonly report: (AuditReport & Pick<AuditDetails, 'omitted'>) | null;
  readonly unreadable: string | null;
}

const READ_LIMIT_MS = 3_000;

/** @param onBroken called when the loop has stopped for good, with what is true of it from then on */
export function createAuditor(options: AuditorOptions, onBroken: (reason: string) => void): Auditor {
  const { clock, offices } = options;
  let broken: string | null = null;
  let state: AuditorState = initialAuditorState;
  // Of whoever looked last, the loop or a reader: what is told beside a report is never older than the report.
  let news: AuditNews | null = null;
  // One for all who ask at the same time: what a thousand readers cost the store is one.
  let reading: Promise<AuditRead> | null = null;

  const readStore = async (): Promise<AuditRead> => {
    const { revision, documents } = await withDeadline(
      clock,
      READ_LIMIT_MS,
      new AbortController().signal,
      'read the audit',
      (signal) => offices.look('audit', ['summary', 'details'], signal),
    );
    const [summary = null, details] = documents;
    news = heed(news, summary, { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() });
    const decodedSummary = summary ? decodeSummary(summary) : null;
    const decodedDetails = details ? decodeDetails(details) : null;
    const known = decodedSummary?.ok ? decodedSummary.value : null;
    const report = known?.result && decodedDetails?.ok ? reportOf(known.result, decodedDetails.value) : null;
    const wrong = [decodedSummary, decodedDetails].find((decoded) => decoded?.ok === false);
    return { revision, summary: known, report, unreadable: wrong?.ok === false ? wrong.reason : null };
  };

  return {
    loop: harmless(
      (signal) =>
        runAuditor(
          {
            ...options,
            onStep: (step, next) => {
              if (next.news !== state.news) news = next.news;
              state = next;
              options.onStep(step, next);
            },
          },
          signal,
        ),
      (reason) => {
        broken = reason;
        onBroken(reason);
      },
    ),
    status: () => {
      const self = { session: options.session, instanceId: options.instanceId() };
      return auditStatus({ ...state, news, broken }, clock.monotonicMs(), self, options.ttlMs);
    },
    read: (signal) => {
      reading ??= readStore().finally(() => {
        reading = null;
      });
      return unlessAborted(reading, signal);
    },
  };
}
