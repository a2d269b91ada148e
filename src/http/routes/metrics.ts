import type { Registry } from '../../registry/registry.ts';
import type { AgentReport } from '../agent-report.ts';
import { metricSamples } from '../metric-samples.ts';
import { METRICS_CONTENT_TYPE, renderMetrics } from '../render-metrics.ts';
import type { Handler } from '../reply.ts';

/** Prometheus text. Made of what is known already: a scrape asks the store nothing. */
export function metrics(
  report: () => AgentReport,
  registry: Pick<Registry, 'status'>,
  residentBytes: () => number,
): Handler {
  return async () => ({
    status: 200,
    contentType: METRICS_CONTENT_TYPE,
    body: await renderMetrics(metricSamples(report(), registry.status(), residentBytes())),
  });
}
