import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { DIFFERENCE_KINDS } from '../../src/audit/audit-report.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { startWorld } from '../agent/start-agent.ts';
import { fakeAgentEcs } from '../support/fake-agent-ecs.ts';
import { fakeAudit } from '../support/fake-audit.ts';
import { until } from '../support/machine-time.ts';
import { getJson, PATIENCE_MS } from '../support/rollcall-process.ts';

const PAGE = await readFile(new URL('../../docs/prometheus.md', import.meta.url), 'utf8');
const quoted = (cell: string | undefined) => cell?.match(/(?<=`)[a-z_]+(?=`)/g) ?? [];

/** Metric → its labels, sorted, as the table of the page has them. */
function documented(): Record<string, string> {
  const rows = PAGE.split('\n').filter((line) => /^\| `(rollcall|process)_/.test(line));
  return Object.fromEntries(
    rows.flatMap((row) => {
      const [, metrics, labels] = row.split('|');
      return quoted(metrics).map((metric) => [metric, quoted(labels).sort().join()]);
    }),
  );
}

/** The same of a page of metrics. */
function served(page: string): Record<string, string> {
  const samples = page.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    samples.map((line) => {
      const [, metric = '', labels = ''] = /^(\w+)(?:\{(.*)\})? /.exec(line) ?? [];
      return [metric, (labels.match(/\w+(?==")/g) ?? []).sort().join()];
    }),
  );
}

test('docs/prometheus.md has each metric of an agent with its labels, and no other', async (t) => {
  const world = await startWorld(t);
  const config = {
    presenceTtlMs: 2_000,
    drain: { on: ['interruption'], criticalAfterMs: 300, maxSharePercent: 10 },
    ecsAttributes: true,
    audit: { intervalMs: 60_000, clusters: 'roll' },
  } as const;
  const options = { openEcs: async () => fakeAgentEcs(), audit: fakeAudit(systemClock, 1), config };
  const { url } = await world.startAgent(options);
  await until('it has audited', PATIENCE_MS, async () => (await getJson(`${url}/v1/audit`)).status === 200);
  await getJson(`${url}/v1/targets`);
  const page = async () => served(await (await fetch(`${url}/metrics`)).text());
  // The age of a check is not known before its first run.
  await until('each check has run', PATIENCE_MS, async () => 'rollcall_check_age_seconds' in (await page()));
  assert.deepEqual(documented(), await page());
});

const ALERTS = await readFile(new URL('../../deploy/prometheus/alerts.yml', import.meta.url), 'utf8');
const DASHBOARD = await readFile(new URL('../../deploy/grafana/rollcall.json', import.meta.url), 'utf8');
/** What Prometheus itself adds to a sample, or the relabeling of docs/prometheus.md does. */
const ADDED = ['job', 'instance', 'cluster'];

/** Metrics that an expression asks for, each with the labels that it selects by. */
function asked(text: string): readonly { readonly metric: string; readonly labels: readonly string[] }[] {
  const selectors = text.matchAll(/\b((?:rollcall|process)_\w+)(?:\{([^{}]*)\})?/g);
  return [...selectors].map(([, metric = '', labels = '']) => ({
    metric,
    labels: labels.match(/\w+(?=[!=]~?"|=")/g) ?? [],
  }));
}

const unknownTo = (table: Readonly<Record<string, string>>, text: string) =>
  asked(text).filter(({ metric, labels }) => {
    const known = table[metric]?.split(',').concat(ADDED);
    return !known || labels.some((label) => !known.includes(label));
  });

const EXPRESSIONS = {
  alerts: (ALERTS.match(/(?<=^ *expr: ).*$/gm) ?? []).join('\n'),
  dashboard: JSON.stringify(JSON.parse(DASHBOARD)).replaceAll('\\"', '"'),
};

test('the alerts and the dashboard ask for metrics and labels that there are', () => {
  for (const [name, text] of Object.entries(EXPRESSIONS)) {
    assert.ok(asked(text).length >= 15, name);
    assert.deepEqual(unknownTo(documented(), text), [], name);
  }
  assert.deepEqual(unknownTo(documented(), 'rollcall_gone + rollcall_drain_state{job="a",stat!~"b"}'), [
    { metric: 'rollcall_gone', labels: [] },
    { metric: 'rollcall_drain_state', labels: ['job', 'stat'] },
  ]);
});

/** Of the fleet, and what is true of an agent that is cut off: it says what was. */
const OF_THE_FLEET = {
  rollcall_registry_nodes: 'rollcall_registry_watch_down_seconds > 0',
  rollcall_registry_uncertain: 'rollcall_registry_watch_down_seconds > 0',
  rollcall_audit_nodes: 'rollcall_audit_stale == 1',
  rollcall_audit_failing: 'rollcall_audit_stale == 1',
};

test('the alerts and the dashboard leave out what agents that are cut off say of the fleet', () => {
  for (const [metric, isCutOff] of Object.entries(OF_THE_FLEET)) {
    const uses = Object.values(EXPRESSIONS).flatMap((text) => text.split(metric).slice(1));
    assert.ok(uses.length > 0, metric);
    for (const use of uses) {
      const rest = use.replace(/^\{[^{}]*\}/, '');
      assert.ok(rest.startsWith(` unless on (instance) ${isCutOff})`), `${metric}${use.slice(0, 100)}`);
    }
  }
});

test('docs/prometheus.md names each alert, and each difference of an audit has one', () => {
  const alerts = ALERTS.match(/(?<=- alert: )\w+/g) ?? [];
  const named = PAGE.match(/(?<=^\| `)Rollcall\w+/gm);
  assert.deepEqual(named, alerts);
  const audited = ALERTS.match(/(?<=rollcall_audit_nodes\{result=")\w+/g);
  assert.deepEqual(audited, [...DIFFERENCE_KINDS]);
});
