import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sharedStoreStatus } from '../../src/audit/fleet-status.ts';
import { type Access, NO_ACCESS_FILES, openAccess } from '../../src/http/access.ts';
import { agentRoutes } from '../../src/http/routes/agent-routes.ts';
import { startHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Hold } from '../../src/store/store.ts';
import { makeEtcdCerts } from '../support/etcd-certs.ts';
import { freePorts } from '../support/etcd-ports.ts';
import { until } from '../support/machine-time.ts';
import { checkMetrics, promtool, startPrometheus } from '../support/prometheus-server.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { sampleReport } from '../support/sample-report.ts';

const { signal } = new AbortController();
const NODES = [1, 2, 3];

interface Place {
  readonly nodes: readonly number[];
  readonly host: (n: number) => string;
  readonly access: Access | null;
}

const OPEN: Place = { nodes: NODES, host: (n) => `127.0.1.${n}`, access: null };

/** Nodes on one store, each with an HTTP port of its own at its private address. */
async function fleet(t: TestContext, { nodes, host, access }: Place = OPEN) {
  const [port = 0] = await freePorts(1);
  const config = { kind: 'memory', label: 'memory:', name: t.name } as const;
  const store = await openStore(config, { clock: systemClock, random: Math.random, signal, create: true });
  t.after(() => store.close());
  const holds: Hold[] = [];
  for (const n of nodes) {
    const record = { ...recordOf(n), privateIpAddress: host(n) };
    const registry = createRegistry({ store, clock: systemClock, random: Math.random });
    const server = await startHttpServer({
      listen: { host: host(n), port },
      access,
      routes: agentRoutes({
        report: () => sampleReport({ record }),
        registry,
        residentBytes: () => 12_345_678,
        clock: systemClock,
        random: Math.random,
        storeStatus: sharedStoreStatus(store, systemClock),
      }),
      clock: systemClock,
      onError: (error) => t.diagnostic(String(error)),
    });
    t.after(async () => {
      await server.close();
      await registry.close();
    });
    const { ec2InstanceId: instanceId, registeredAt: since } = record;
    const registration = { instanceId, session: `session-${n}`, since, ttlMs: 60_000, retentionMs: 120_000 };
    const outcome = await store.register(registration, record, { takeover: true, signal });
    assert.ok(outcome.kind === 'registered');
    holds.push(outcome.hold);
  }
  return { store, holds, port };
}

function recordOf(n: number) {
  const ec2InstanceId = sampleInstanceId(n);
  return sampleRecord({ ec2InstanceId, privateIpAddress: `127.0.1.${n}`, labels: { 'team/name': `team-${n}` } });
}

test('Prometheus finds the nodes through any agent, scrapes them, and drops departed nodes', async (t) => {
  const { store, holds, port } = await fleet(t);
  const relabel = (source: string, target: string) => ({
    source_labels: [`__meta_rollcall_${source}`],
    target_label: target,
  });
  const prometheus = await startPrometheus(t, {
    global: { scrape_interval: '500ms', scrape_timeout: '400ms' },
    scrape_configs: [
      {
        job_name: 'rollcall',
        http_sd_configs: [{ url: `http://127.0.1.1:${port}/v1/targets?cluster=demo`, refresh_interval: '500ms' }],
        relabel_configs: [
          relabel('instance_id', 'instance'),
          relabel('availability_zone', 'zone'),
          relabel('cluster', 'cluster'),
          relabel('label_team_name', 'team'),
        ],
      },
    ],
  });
  await until('all targets are up', PATIENCE_MS, async () => {
    const targets = await prometheus.activeTargets();
    return targets.length === NODES.length && targets.every(({ health }) => health === 'up');
  });
  const targets = [...(await prometheus.activeTargets())].sort((a, b) => (a.scrapeUrl < b.scrapeUrl ? -1 : 1));
  assert.deepEqual(
    targets.map(({ scrapeUrl, labels }) => ({ scrapeUrl, ...labels })),
    NODES.map((n) => ({
      scrapeUrl: `http://127.0.1.${n}:${port}/metrics`,
      job: 'rollcall',
      instance: sampleInstanceId(n),
      zone: 'us-east-1a',
      cluster: 'demo',
      team: `team-${n}`,
    })),
  );
  assert.equal(targets[0]?.discoveredLabels['__meta_rollcall_presence'], 'present');
  const held = () => prometheus.query('rollcall_lease_state{state="held"} == 1');
  await until('every node was scraped', PATIENCE_MS, async () => (await held()).length === NODES.length);
  assert.deepEqual(
    new Set((await held()).map(({ metric }) => metric['team'])),
    new Set(['team-1', 'team-2', 'team-3']),
  );

  const [, , last] = holds;
  assert.ok(last);
  const departure = { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } as const;
  await store.depart(last, { ...recordOf(3), departure }, signal);
  await until('the departed node is no target', PATIENCE_MS, async () => {
    const left = await prometheus.activeTargets();
    return left.length === 2 && left.every(({ scrapeUrl }) => !scrapeUrl.includes('127.0.1.3'));
  });
});

test('the example of docs/prometheus.md finds and scrapes agents that ask for a token over HTTPS', async (t) => {
  const { dir, dispose, server, caFile } = await makeEtcdCerts();
  t.after(dispose);
  const tokenFile = join(dir, 'token');
  await writeFile(tokenFile, 'a-token-of-the-fleet-0123456789\n');
  const files = { ...NO_ACCESS_FILES, certFile: server.certFile, keyFile: server.keyFile, tokenFile };
  const access = await openAccess(files, systemClock);
  const { port } = await fleet(t, { nodes: [1], host: () => '127.0.0.1', access });
  const page = await readFile(new URL('../../docs/prometheus.md', import.meta.url), 'utf8');
  const [example = ''] = /^ +- job_name: rollcall\n +scheme: https\n(?: {8}.*\n)+/m.exec(page) ?? [];
  const job = example
    .replaceAll('/etc/prometheus/rollcall-token', tokenFile)
    .replaceAll('/etc/prometheus/rollcall-ca.pem', caFile)
    .replaceAll('10.113.0.23:51690', `127.0.0.1:${port}`);
  const prometheus = await startPrometheus(t, `global: {scrape_interval: 500ms}\nscrape_configs:\n${job}`);
  await until('the agent is found and scraped', PATIENCE_MS, async () => {
    const targets = await prometheus.activeTargets();
    return targets.length === 1 && targets.every(({ health }) => health === 'up');
  });
});

test('promtool accepts the page of metrics', async (t) => {
  const { port } = await fleet(t);
  // Read first, so that the metrics of the roll are on the page too.
  await (await fetch(`http://127.0.1.1:${port}/v1/targets`)).json();
  const page = await (await fetch(`http://127.0.1.1:${port}/metrics`)).text();
  assert.match(page, /^rollcall_registry_nodes\{presence="present"\} 3$/m);
  assert.equal(await checkMetrics(page), '');
  assert.match(await checkMetrics('# TYPE wrong counter\nwrong 1\n'), /wrong/);
});

const deployed = (name: string) => fileURLToPath(new URL(`../../deploy/${name}`, import.meta.url));

async function ruleFile(t: TestContext): Promise<(text: string) => Promise<string>> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-rules-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return async (text) => {
    await writeFile(join(dir, 'alerts.yml'), text);
    return join(dir, 'alerts.yml');
  };
}

test('promtool accepts the alerts, and each fires when it must and not before', async (t) => {
  const alerts = await readFile(deployed('prometheus/alerts.yml'), 'utf8');
  const tests = await readFile(deployed('prometheus/alerts.test.yml'), 'utf8');
  const { code, output } = await promtool(['check', 'rules', deployed('prometheus/alerts.yml')]);
  assert.equal(code, 0, output);
  const tried = await promtool(['test', 'rules', deployed('prometheus/alerts.test.yml')]);
  assert.equal(tried.code, 0, tried.output);
  const names = alerts.match(/(?<=- alert: )\w+/g) ?? [];
  assert.ok(names.length > 10);
  const quiet = [...tests.matchAll(/alertname: (\w+), exp_alerts: \[\]/g)].map(([, name]) => name);
  const firing = [...tests.matchAll(/alertname: (\w+)\n +exp_alerts:\n +- exp_labels/g)].map(([, name]) => name);
  assert.deepEqual({ quiet: new Set(quiet), firing: [...new Set(firing)] }, { quiet: new Set(names), firing: names });

  // An alert that never fires, one that always does, and one that misses what is over before the next scrape are found.
  const write = await ruleFile(t);
  const counted = 'max(increase(rollcall_registry_mass_losses_total[5m])) > 0';
  const now = 'max(rollcall_registry_uncertain unless on (instance) rollcall_registry_watch_down_seconds > 0) == 1';
  const right = `${counted} or ${now}`;
  assert.ok(alerts.includes(right));
  for (const wrong of [now, counted, `${counted} or max(rollcall_registry_uncertain) >= 0`]) {
    const path = await write(alerts.replace(right, wrong));
    const copy = path.replace('alerts.yml', 'alerts.test.yml');
    await writeFile(copy, tests);
    const { code: status, output: said } = await promtool(['test', 'rules', copy]);
    assert.equal(status, 1, said);
    assert.match(said, /RollcallManyVanished/);
  }
});

test('promtool accepts each expression of the dashboard', async (t) => {
  const dashboard = JSON.parse(await readFile(deployed('grafana/rollcall.json'), 'utf8'));
  const panels: { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[] =
    dashboard.panels;
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  assert.ok(expressions.length >= 30);
  const rules = expressions.map((expr, n) => ({
    record: `panel:${n}`,
    expr: expr.replaceAll('$__rate_interval', '5m'),
  }));
  const write = await ruleFile(t);
  const check = async (list: object[]) =>
    promtool(['check', 'rules', await write(JSON.stringify({ groups: [{ name: 'dashboard', rules: list }] }))]);
  const { code, output } = await check(rules);
  assert.equal(code, 0, output);
  assert.equal((await check([...rules, { record: 'panel:wrong', expr: 'max(' }])).code, 1);
});
