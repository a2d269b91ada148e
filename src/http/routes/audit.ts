import type { Auditor } from '../../audit/standing/create-auditor.ts';
import { describeError } from '../../errors.ts';
import { StoreError } from '../../store/store-error.ts';
import { DeadlineError } from '../../timing/with-deadline.ts';
import { problem } from '../problem.ts';
import { unavailable } from '../read-roll.ts';
import { type Handler, jsonReply } from '../reply.ts';

const SWITCHED_OFF =
  'this agent takes no part in the standing audit: start it with --audit-interval 5m (ROLLCALL_AUDIT_INTERVAL)';

/** The last result of the standing audit, whoever made it, as the store has it; with its age, and whether that is too much. */
export function audit(auditor: Pick<Auditor, 'status' | 'read'> | null): Handler {
  return async ({ path, signal }) => {
    if (!auditor) return problem(404, SWITCHED_OFF, { instance: path });
    try {
      const { revision, summary, report, unreadable } = await auditor.read(signal);
      const { leader, ageMs, stale, staleReason, broken } = auditor.status();
      if (!summary?.result || !report) {
        const detail =
          unreadable === null
            ? (staleReason ?? 'no audit has come to a result')
            : `the result cannot be read: ${unreadable}`;
        return unavailable(detail, path);
      }
      const { result, lastRun, intervalMs } = summary;
      return jsonReply({
        report,
        by: result.by,
        ageMs: ageMs === null ? null : Math.round(ageMs),
        stale,
        staleReason,
        revision,
        intervalMs,
        lastRun,
        leader,
        broken,
      });
    } catch (error) {
      if (!(error instanceof StoreError || error instanceof DeadlineError)) throw error;
      const { summary, ageMs } = auditor.status();
      const known = summary?.result ? { lastKnown: { ...summary.result, ageMs: Math.round(ageMs ?? 0) } } : {};
      const headers = { 'Retry-After': '5' };
      return problem(503, describeError(error), { instance: path, headers, extension: known });
    }
  };
}
