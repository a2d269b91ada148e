import { type Observation, reasonFrom } from '../../checks/check.ts';
import { abortable } from '../../lib/abort.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { harmless, type Task } from '../../lib/run-group.ts';
import type { NodeRecord } from '../../record/record.ts';
import type { AuditReport } from '../audit-report.ts';
import { type ConnectionRead, judgeEcsConnection, NO_DOUBT } from './connection-check.ts';
import { type AuditDetails, type AuditSummary, decodeAuditSummary, decodeDetails, reportOf } from './documents.ts';
import { initialAuditorState } from './fleet-audit-plan.ts';
import { type AuditorOptions, LOCK, runAuditor } from './fleet-audit-run.ts';
import { type AuditStatus, auditStatus } from './status.ts';
import { type SummaryCopy, updateCopy } from './summary-copy.ts';

/** One agent's part in the continuous audit, and what its HTTP side answers of it. */
export interface Auditor {
  /** Ends only with its signal: a defect in it is in the status. */
  readonly loop: Task<never>;
  status(): AuditStatus;
  /** The last result in full, from the store. Rejects as `Store` does. */
  read(signal: AbortSignal): Promise<AuditRead>;
}

/** All at one revision of the store. Where `report` is null, `unreadable` says what is wrong with it, if there is one. */
interface AuditRead {
  readonly revision: string;
  readonly summary: AuditSummary | null;
  readonly report: (AuditReport & Pick<AuditDetails, 'omitted'>) | null;
  readonly unreadable: string | null;
}

const READ_LIMIT_MS = 3_000;

/** What an agent does with its node's connection. */
interface ConnectionUse {
  /** The node's record; null: not known. */
  readonly record: () => Pick<NodeRecord, 'containerInstanceArn' | 'cluster'> | null;
  /**
   * Called at each step of the loop with the result of the check `ecs-connection`, not before a leader has polled; null: the
   * node has no such check, since ECS is not asked about it.
   */
  readonly onConnection: (seen: Observation | null) => void;
}

/** An agent that has to write its record because ECS is away waits for up to so long. */
const MAX_SPREAD_MS = 60_000;

/** @param onBroken called when the loop has stopped for good, with what is true of it from then on */
export function createAuditor(
  options: AuditorOptions,
  onBroken: (reason: string) => void,
  connection: ConnectionUse = { record: () => null, onConnection: () => {} },
): Auditor {
  const { clock, locks, session, ttlMs, intervalMs } = options;
  let broken: string | null = null;
  let state = initialAuditorState(ttlMs, intervalMs);
  // Of the last read, by the loop or for a reader: the status beside a report is never older than the report.
  let copy: SummaryCopy | null = null;
  /** Of this agent's own polls, while it leads. */
  let poll: ConnectionRead | null = null;
  let doubt = NO_DOUBT;
  let hasCheck = false;
  const spreadMs = options.random() * MAX_SPREAD_MS;
  const judge = () => {
    const judged = judgeEcsConnection(doubt, {
      read: state.leadership ? poll : state.connection,
      node: connection.record(),
      nowMs: clock.monotonicMs(),
      presenceTtlMs: ttlMs,
      spreadMs,
    });
    doubt = judged.doubt;
    if (judged.seen === undefined) return;
    hasCheck = judged.seen !== null;
    connection.onConnection(judged.seen);
  };
  // One for all readers of the same time: a thousand readers cost the store one read.
  let reading: Promise<AuditRead> | null = null;

  const readStore = async (): Promise<AuditRead> => {
    const { revision, documents } = await withDeadline(
      clock,
      READ_LIMIT_MS,
      new AbortController().signal,
      'read the audit',
      (signal) => locks.read(LOCK, ['summary', 'details'], signal),
    );
    const [summaryText = null, details] = documents;
    copy = updateCopy(copy, summaryText, { nowMs: clock.monotonicMs(), wallMs: clock.wallMs() });
    const decodedSummary = summaryText ? decodeAuditSummary(summaryText) : null;
    const decodedDetails = details ? decodeDetails(details) : null;
    const summary = decodedSummary?.ok ? decodedSummary.value : null;
    const report = summary?.result && decodedDetails?.ok ? reportOf(summary.result, decodedDetails.value) : null;
    const wrong = [decodedSummary, decodedDetails].find((decoded) => decoded?.ok === false);
    return { revision, summary, report, unreadable: wrong?.ok === false ? wrong.reason : null };
  };

  return {
    loop: harmless(
      (signal) =>
        runAuditor(
          {
            ...options,
            onStep: (step, next) => {
              if (next.copy !== state.copy) copy = next.copy;
              // While its own term has seen nothing, what it read before it led is what it knows.
              if (next.leadership && !state.leadership) poll = state.connection;
              state = next;
              options.onStep(step, next);
              judge();
            },
            onPoll(read) {
              poll = read;
              judge();
            },
          },
          signal,
        ),
      (reason) => {
        broken = reason;
        // What was said last would stay for ever.
        if (hasCheck) {
          const text = reasonFrom(`not known: the auditor of this agent ${reason}`);
          connection.onConnection({ status: 'warning', reason: text });
        }
        onBroken(reason);
      },
    ),
    status: () => {
      const self = { session, instanceId: options.instanceId() };
      return auditStatus({ ...state, copy, broken }, clock.monotonicMs(), self);
    },
    read: (signal) => {
      reading ??= readStore().finally(() => {
        reading = null;
      });
      return abortable(reading, signal);
    },
  };
}
