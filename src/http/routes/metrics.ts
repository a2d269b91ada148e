import type { AuditStatus } from '../../audit/standing/audit-status.ts';
import type { Registry } from '../../registry/registry.ts';
import type { AgentReport } from '../agent-report.ts';
import { auditMetrics } from '../audit-metrics.ts';
import { metricSamples } from '../metric-samples.ts';
import { METRICS_CONTENT_TYPE, renderMetrics } from '../render-metrics.ts';
import type { Handler } from '../reply.ts';

/** Prometheus text. Made of what is known already: a scrape asks the store nothing. */
export function metrics(
  report: () => AgentReport,
  registry: Pick<Registry, 'status'>,
  residentBytes: () => number,
  auditor: { status(): AuditStatus } | null,
): Handler {
  return async () => ({
    status: 200,
    contentType: METRICS_CONTENT_TYPE,
    body: await renderMetrics([
      ...metricSamples(report(), registry.status(), residentBytes()),
      ...(auditor ? auditMetrics(auditor.status()) : []),
    ]),
  });
}
