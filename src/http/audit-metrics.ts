import { DIFFERENCE_KINDS } from '../audit/audit-report.ts';
import { AUDIT_FAILURES } from '../audit/standing/audit-failure.ts';
import type { AuditStatus } from '../audit/standing/audit-status.ts';
import { counter, gauge, type Metric, plain, seconds } from './metric.ts';

/** The standing audit as this agent knows it: the result is the fleet's, the runs are this process's own. */
export function auditMetrics({ summary, ageMs, leading, stale, counts }: AuditStatus): readonly Metric[] {
  const result = summary?.result;
  const differing = DIFFERENCE_KINDS.map((kind) => ({
    labels: { result: kind as string },
    value: result?.differences[kind] ?? 0,
  }));
  return [
    gauge(
      'rollcall_audit_nodes',
      'Nodes by what the last audit of the fleet found, whoever made it',
      result ? [{ labels: { result: 'agreeing' }, value: result.agreeing }, ...differing] : [],
    ),
    gauge('rollcall_audit_age_seconds', 'Time since the last audit that came to a result', seconds(ageMs)),
    gauge('rollcall_audit_stale', 'One while that is longer than two intervals and a TTL ago', plain(stale ? 1 : 0)),
    gauge(
      'rollcall_audit_failing',
      'One while the last audit of the fleet came to no result',
      summary ? plain(summary.lastRun.error === null ? 0 : 1) : [],
    ),
    gauge('rollcall_audit_leader', 'One while this agent audits for the fleet', plain(leading ? 1 : 0)),
    counter('rollcall_audit_elections_total', 'Times this agent was elected', plain(counts.elections)),
    counter('rollcall_audit_results_total', 'Audits of this agent that came to a result', plain(counts.results)),
    counter(
      'rollcall_audit_failures_total',
      'Audits of this agent that came to no result, by cause',
      AUDIT_FAILURES.map((cause) => ({ labels: { cause }, value: counts.failures[cause] })),
    ),
    counter(
      'rollcall_audit_refused_total',
      'Outcomes that the store did not take because another agent led by then',
      plain(counts.refused),
    ),
  ];
}
