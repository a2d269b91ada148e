import { describeError } from '../../errors.ts';
import type { AuditMemory } from '../audit-memory.ts';
import { type AuditReport, DIFFERENCE_KINDS, type DifferenceKind } from '../audit-report.ts';
import { boundDetails, encodeDetails } from './audit-details.ts';
import { type Auditor, type AuditSummary, encodeSummary } from './audit-summary.ts';
import type { Publication } from './auditor-state.ts';
import { encodeMemory } from './stored-memory.ts';

interface RunContext {
  readonly by: Auditor;
  readonly intervalMs: number;
  /** RFC 3339. */
  readonly endedAt: string;
}

/** What is told of an audit that came to a result. */
export function publishResult(report: AuditReport, memory: AuditMemory, context: RunContext): Publication {
  const { by, intervalMs, endedAt } = context;
  const { startedAt, finishedAt, revision, agreeing, elsewhere } = report;
  const count = (kind: DifferenceKind) => report.differences.filter((difference) => difference.kind === kind).length;
  const differences = Object.fromEntries(DIFFERENCE_KINDS.map((kind) => [kind, count(kind)])) as Record<
    DifferenceKind,
    number
  >;
  const clusters = report.clusters.length;
  const summary = encodeSummary({
    intervalMs,
    lastRun: { by, endedAt, error: null },
    result: { by, startedAt, finishedAt, revision, clusters, agreeing, elsewhere, differences },
  });
  const details = encodeDetails(boundDetails(report));
  return { summary, found: { details, memoryText: encodeMemory(memory), memory } };
}

/** What is told of one that did not: the cause, beside the last result, which stays. */
export function publishFailure(error: unknown, last: AuditSummary | null, context: RunContext): Publication {
  const { by, intervalMs, endedAt } = context;
  const lastRun = { by, endedAt, error: describeError(error) };
  return { summary: encodeSummary({ intervalMs, lastRun, result: last?.result ?? null }), found: null };
}
