import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import Registry from 'prom-client/lib/registry.js';
import type { Metric } from './metric.ts';

export const METRICS_CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/** The page in Prometheus' text format. A metric without samples is left out. */
export function renderMetrics(metrics: readonly Metric[]): Promise<string> {
  // A page of its own: what is not there at this scrape leaves nothing behind in the next.
  const page = new Registry();
  for (const { name, type, help, samples } of metrics) {
    if (samples.length === 0) continue;
    const config = { name, help, labelNames: Object.keys(samples[0]?.labels ?? {}), registers: [page] };
    const add = type === 'counter' ? counterOf(new Counter(config)) : gaugeOf(new Gauge(config));
    for (const { labels, value } of samples) add(labels, value);
  }
  return page.metrics();
}

type Add = (labels: Readonly<Record<string, string>>, value: number) => void;

function counterOf(counter: Counter): Add {
  return (labels, value) => counter.inc({ ...labels }, value);
}

function gaugeOf(gauge: Gauge): Add {
  return (labels, value) => gauge.set({ ...labels }, value);
}
