import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { freePorts } from './etcd-ports.ts';
import { startOwned } from './owned-process.ts';

export interface ActiveTarget {
  readonly labels: Readonly<Record<string, string>>;
  readonly discoveredLabels: Readonly<Record<string, string>>;
  readonly scrapeUrl: string;
  readonly health: 'up' | 'down' | 'unknown';
  readonly lastError: string;
}

export interface PrometheusServer {
  activeTargets(): Promise<readonly ActiveTarget[]>;
  /** Labels and newest value of each series that a PromQL expression gives. */
  query(expression: string): Promise<readonly { readonly metric: Record<string, string>; readonly value: number }[]>;
}

/** Starts a real Prometheus on loopback; the test's end kills it. @param config its prometheus.yml, as YAML or its content */
export async function startPrometheus(t: TestContext, config: object | string): Promise<PrometheusServer> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-prometheus-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const configFile = join(dir, 'prometheus.yml');
  await writeFile(configFile, typeof config === 'string' ? config : JSON.stringify(config));
  const [port] = await freePorts(1);
  const args = [
    `--config.file=${configFile}`,
    `--storage.tsdb.path=${join(dir, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  const { child } = startOwned(t, ['prometheus', ...args], process.env);
  child.stdout.resume();
  let log = '';
  child.stderr.on('data', (chunk) => {
    log += chunk;
  });
  const url = `http://127.0.0.1:${port}`;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`prometheus ended: ${log}`);
    const ready = await fetch(`${url}/-/ready`).catch(() => null);
    await ready?.body?.cancel();
    if (ready?.ok) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const api = async (path: string) => {
    const { data } = (await (await fetch(`${url}/api/v1/${path}`)).json()) as { data: ReturnType<typeof JSON.parse> };
    return data;
  };
  return {
    activeTargets: async () => (await api('targets?state=active')).activeTargets,
    async query(expression) {
      const { result } = await api(`query?query=${encodeURIComponent(expression)}`);
      return result.map((series: { metric: Record<string, string>; value: [number, string] }) => ({
        metric: series.metric,
        value: Number(series.value[1]),
      }));
    },
  };
}

/** What `promtool check metrics` has to say of a page; empty when it is clean. */
export function checkMetrics(page: string): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile('promtool', ['check', 'metrics'], (error, stdout, stderr) =>
      resolve(`${stdout}${stderr}${error && stderr === '' ? error.message : ''}`),
    );
    child.stdin?.end(page);
  });
}

/** The exit status of promtool, and what it says. */
export function promtool(args: readonly string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve) => {
    const child = execFile('promtool', [...args], (_, stdout, stderr) =>
      resolve({ code: child.exitCode, output: `${stdout}${stderr}` }),
    );
  });
}
