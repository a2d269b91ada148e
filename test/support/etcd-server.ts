import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { EtcdServerTls } from './etcd-certs.ts';
import { freePorts } from './etcd-ports.ts';
import { type EtcdVersion, etcdProgram } from './etcd-versions.ts';
import { diesWithParent, killAtExit } from './owned-process.ts';

const START_LIMIT_MS = 60_000;
/** Its own limits of 2 s and 5 s are too short beside busy processes where etcd checks passwords, which costs it 0.1 s each. */
export const ETCDCTL_ENV = { ETCDCTL_API: '3', ETCDCTL_DIAL_TIMEOUT: '30s', ETCDCTL_COMMAND_TIMEOUT: '30s' } as const;
/** A test does not survive a power cut anyway, and fsync on a shared disk takes up to a second. */
const SINCE_3_4 = ['--unsafe-no-fsync', '--logger=zap', '--log-level=error'];

export interface EtcdOptions {
  /** More flags, after the fixture's own. */
  readonly args?: readonly string[];
  /** Default: a temporary directory that `dispose` removes. A directory given here stays. */
  readonly dataDir?: string;
  /** Serve TLS with these files; `etcdctl` then uses the good client certificate. */
  readonly tls?: EtcdServerTls;
  /** Flags for every `etcdctl` call, such as `--user=root:secret`. */
  readonly etcdctlArgs?: readonly string[];
  /** Default: the machine's own. */
  readonly version?: EtcdVersion;
  /** Only for members of a cluster. */
  readonly member?: { readonly name: string; readonly ports: MemberPorts; readonly initialCluster: string };
}

export interface MemberPorts {
  readonly client: number;
  readonly peer: number;
  readonly metrics: number;
}

/** A real etcd on loopback. */
export interface EtcdServer {
  /** `[clientUrl]`, ready for `EtcdStoreConfig.endpoints`. */
  readonly endpoints: string[];
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** Plain HTTP without authentication: `/metrics` and `/health`. */
  readonly metricsUrl: string;
  readonly dataDir: string;
  /** Of the process running now, or of the last one. Send it SIGSTOP for a server that hangs, SIGCONT to go on. */
  readonly pid: number;
  /** Ends the process and waits for its end. Default: SIGKILL, a crash; with SIGTERM etcd first closes its connections. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same ports and data; stops it first where it still runs. */
  restart(): Promise<void>;
  /** Goes back to a file that `etcdctl snapshot save` wrote, as an operator would: same name, URLs and cluster token. */
  restore(snapshot: string): Promise<void>;
  /** Ends the process and removes what the fixture made. */
  dispose(): Promise<void>;
  /** What `etcdctl ARGS` prints; rejects when it fails. */
  etcdctl(...args: string[]): Promise<string>;
  /** The number a metric has now, summed over its labels. */
  metric(name: string): Promise<number>;
}

/** Starts etcd and waits until it is healthy (it has a leader and answers a linearizable read). */
export async function startEtcd(options: EtcdOptions = {}): Promise<EtcdServer> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'rollcall-etcd-')));
  const ports = options.member?.ports ?? (await freeMemberPorts());
  const clientUrl = `${options.tls ? 'https' : 'http'}://127.0.0.1:${ports.client}`;
  const peerUrl = `http://127.0.0.1:${ports.peer}`;
  const metricsUrl = `http://127.0.0.1:${ports.metrics}`;
  const name = options.member?.name ?? 'default';
  const initialCluster = options.member?.initialCluster ?? `${name}=${peerUrl}`;
  const args = [
    `--name=${name}`,
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=${initialCluster}`,
    `--listen-metrics-urls=${metricsUrl}`,
    ...(options.version === '3.3.25' ? [] : SINCE_3_4),
    ...(options.tls?.serverArgs ?? []),
    ...(options.args ?? []),
  ];
  const program = etcdProgram('etcd', options.version);
  const ctl = etcdProgram('etcdctl', options.version);
  let running = await run(program, args, () => isHealthy(metricsUrl));

  return {
    endpoints: [clientUrl],
    clientUrl,
    peerUrl,
    metricsUrl,
    dataDir,
    get pid() {
      return running.pid;
    },
    stop: (signal = 'SIGKILL') => running.stop(signal),
    restart: async () => {
      await running.stop('SIGKILL');
      running = await run(program, args, () => isHealthy(metricsUrl));
    },
    restore: async (snapshot) => {
      await running.stop('SIGKILL');
      await rm(dataDir, { recursive: true, force: true });
      const identity = [
        `--name=${name}`,
        `--initial-cluster=${initialCluster}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
      ];
      await promisify(execFile)(ctl, ['snapshot', 'restore', snapshot, `--data-dir=${dataDir}`, ...identity], {
        env: { ...process.env, ...ETCDCTL_ENV },
      });
      running = await run(program, args, () => isHealthy(metricsUrl));
    },
    dispose: async () => {
      await running.stop('SIGKILL');
      if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
    },
    etcdctl: async (...ctlArgs) => {
      const flags = [`--endpoints=${clientUrl}`, ...(options.tls?.etcdctlArgs ?? []), ...(options.etcdctlArgs ?? [])];
      const done = await promisify(execFile)(ctl, [...flags, ...ctlArgs], {
        env: { ...process.env, ...ETCDCTL_ENV },
        maxBuffer: 256 * 1024 * 1024,
      });
      return done.stdout;
    },
    metric: async (metricName) => {
      const text = await (await fetch(`${metricsUrl}/metrics`)).text();
      const lines = text.split('\n').filter((line) => /^[^{ ]+/.exec(line)?.[0] === metricName);
      if (lines.length === 0) throw new Error(`etcd has no metric ${metricName}`);
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
    },
  };
}

export async function freeMemberPorts(): Promise<MemberPorts> {
  const [client = 0, peer = 0, metrics = 0] = await freePorts(3);
  return { client, peer, metrics };
}

interface Running {
  readonly pid: number;
  stop(signal: NodeJS.Signals): Promise<void>;
}

/**
 * `etcd grpc-proxy` of 3.5 before the etcd at `target`: no JSON gateway, cached reads, merged watches. Plain text on
 * both sides.
 */
export async function startEtcdProxy(target: string): Promise<{ readonly url: string; dispose(): Promise<void> }> {
  const [port = 0, metrics = 0] = await freePorts(2);
  const url = `http://127.0.0.1:${port}`;
  const metricsUrl = `http://127.0.0.1:${metrics}`;
  const args = ['grpc-proxy', 'start', `--endpoints=${target}`, `--listen-addr=127.0.0.1:${port}`];
  const running = await run(etcdProgram('etcd', '3.5.16'), [...args, `--metrics-addr=${metricsUrl}`], () =>
    isHealthy(metricsUrl),
  );
  return { url, dispose: () => running.stop('SIGKILL') };
}

async function run(program: string, args: readonly string[], isReady: () => Promise<boolean>): Promise<Running> {
  const child = spawn(...diesWithParent('KILL', program, args), { stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    output = (output + chunk).slice(-4_000);
  });
  const release = killAtExit(() => child.kill('SIGKILL'));
  let ended = false;
  const end = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      output += error.message;
      ended = true;
      resolve();
    });
    child.once('exit', () => {
      ended = true;
      release();
      resolve();
    });
  });
  const stop = async (signal: NodeJS.Signals) => {
    if (ended) return;
    child.kill(signal);
    child.kill('SIGCONT'); // a stopped process takes no SIGTERM
    await end;
  };
  const giveUpMs = performance.now() + START_LIMIT_MS;
  while (!(await isReady())) {
    if (ended || performance.now() > giveUpMs) {
      await stop('SIGKILL');
      throw new Error(`etcd did not start: ${output}`);
    }
    await sleep(20);
  }
  return { pid: child.pid ?? 0, stop };
}

async function isHealthy(metricsUrl: string): Promise<boolean> {
  try {
    const response = await fetch(`${metricsUrl}/health`, { signal: AbortSignal.timeout(2_000) });
    return response.ok && (await response.text()).includes('"true"');
  } catch {
    return false; // not listening yet
  }
}
