import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LeaseCounts } from '../../src/http/agent-report.ts';
import { withDeadline } from '../../src/lib/deadline.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Hold, Store } from '../../src/store/store.ts';
import { parseStoreUrl } from '../../src/store/store-url.ts';
import { type EtcdServer, startEtcd } from '../../test/support/etcd-server.ts';
import { until } from '../../test/support/machine-time.ts';
import { getJson } from '../../test/support/rollcall-process.ts';
import { sampleRecord, spreadInstanceId } from '../../test/support/sample-record.ts';
import type { BenchContext } from '../benchmark.ts';
import { type Child, type Launch, launchCommand, startChild } from './child.ts';

export interface BenchEtcd {
  readonly server: EtcdServer;
  /** For `--store`. */
  readonly url: string;
  /** Opens the store below `prefix`, for the benchmark to read and write. */
  open(prefix?: string): Promise<Store>;
}

/** A new etcd on loopback with its defaults. Unlike the tests' etcd it uses fsync. */
export async function startBenchEtcd({ clock, random, cleanup }: BenchContext): Promise<BenchEtcd> {
  const server = await startEtcd({ args: ['--unsafe-no-fsync=false'] });
  cleanup.after(() => server.dispose());
  const url = server.clientUrl.replace('http:', 'etcd:');
  const none = { caFile: null, certFile: null, keyFile: null, user: null, password: null };
  return {
    server,
    url,
    open: async (prefix = '') => {
      const { signal } = new AbortController();
      // What prepares a benchmark may take its time on a busy machine.
      const config = { ...parseStoreUrl(`${url}${prefix}`, none), callTimeoutMs: 30_000 };
      const store = await openStore(config, { clock, random, signal, create: false });
      cleanup.after(() => store.close());
      return store;
    },
  };
}

const AT_ONCE = 32;
const TTL_MS = 3_600_000;

export interface RegisteredNode {
  readonly hold: Hold;
  readonly record: NodeRecord;
}

/** Registers nodes as their agents would, without agents. Each has its own leases, which outlast the benchmark. */
export async function registerNodes(
  { clock, signal }: BenchContext,
  store: Store,
  count: number,
): Promise<readonly RegisteredNode[]> {
  const since = new Date(clock.wallMs()).toISOString();
  const nodes: RegisteredNode[] = [];
  let next = 0;
  const worker = async () => {
    for (let n = next++; n < count; n = next++) {
      const ec2InstanceId = spreadInstanceId(n);
      const privateIpAddress = `10.113.${n >> 8}.${n & 255}`;
      const record = sampleRecord({ ec2InstanceId, privateIpAddress, registeredAt: since });
      const session = record.sidecar.session;
      const registration = { instanceId: ec2InstanceId, session, since, ttlMs: TTL_MS, retentionMs: 2 * TTL_MS };
      const outcome = await store.register(registration, record, { takeover: true, signal });
      if (outcome.kind !== 'registered') throw new Error(`register ${ec2InstanceId}: ${outcome.kind}`);
      nodes.push({ hold: outcome.hold, record });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return nodes;
}

export interface BenchNode {
  readonly instanceId: string;
  /** The variables with which an agent runs on this node and answers HTTP on a free port. */
  readonly env: Readonly<Record<string, string>>;
}

/** Simulated nodes in this process, and a folder with their machine ids. */
export async function startBenchNodes(
  { clock, cleanup }: BenchContext,
  count: number,
): Promise<{ readonly simulator: Simulator; readonly nodes: readonly BenchNode[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-bench-'));
  cleanup.after(() => rm(folder, { recursive: true, force: true }));
  const simulator = await startSimulator({ nodes: count, basePort: 0, cluster: 'bench', seed: 'bench', clock });
  cleanup.after(() => simulator.close());
  const nodes = simulator.nodes.map(async ({ node, imdsEndpoint, introspectionEndpoint }) => {
    const machineIdFile = join(folder, node.instanceId);
    await writeFile(machineIdFile, `${node.machineId}\n`);
    const env = {
      ROLLCALL_METADATA_ENDPOINT: imdsEndpoint,
      ROLLCALL_INTROSPECTION_ENDPOINT: introspectionEndpoint,
      ROLLCALL_MACHINE_ID_FILE: machineIdFile,
      ROLLCALL_LISTEN: '127.0.0.1:0',
    };
    return { instanceId: node.instanceId, env };
  });
  return { simulator, nodes: await Promise.all(nodes) };
}

const START_LIMIT_MS = 20_000;
/** Enough of a log to show why an agent ended. */
const MAX_LOG_CHARS = 4_000;

export interface BenchAgent {
  readonly child: Child;
  /** Resolves when the agent logs its address; `heardMs` is when the line was read. */
  readonly listening: Promise<{ readonly url: string; readonly heardMs: number }>;
}

/** Starts a real agent on a simulated node. `listening` rejects when it ends, or logs no address for 20 s. */
export function startBenchAgent(
  context: BenchContext,
  { argv, env }: Launch,
  node: BenchNode,
  { args, deathWatch }: { readonly args: readonly string[]; readonly deathWatch: boolean },
): BenchAgent {
  const { clock, signal } = context;
  const heard = Promise.withResolvers<{ url: string; heardMs: number }>();
  let log = '';
  const child = startChild(context, [...argv, 'agent', ...args], {
    env: { ...env, ...node.env },
    deathWatch,
    onStderr: (chunk) => {
      log = (log + chunk).slice(-MAX_LOG_CHARS);
      const url = /"url":"(http:[^"]+)"/.exec(log)?.[1];
      if (url !== undefined) heard.resolve({ url, heardMs: clock.monotonicMs() });
    },
  });
  child.ended.then(({ code }) => heard.reject(new Error(`the agent ended with ${code}: ${log}`)), heard.reject);
  const listening = withDeadline(clock, START_LIMIT_MS, signal, 'start the agent', () => heard.promise);
  listening.catch(() => {}); // not every caller waits for it
  return { child, listening };
}

/** The lease in an agent's `/v1/self`. */
export async function leaseOf(
  agentUrl: string,
  signal: AbortSignal,
): Promise<{ readonly state: string; readonly counts: LeaseCounts }> {
  return (await getJson(`${agentUrl}/v1/self`, signal)).body.lease;
}

export async function untilRegistered({ signal }: BenchContext, agentUrl: string): Promise<void> {
  const isHeld = async () => (await leaseOf(agentUrl, signal)).state === 'held';
  await until('the agent is registered', 10_000, isHeld, { signal });
}

/** By then an agent has finished what it does at its start. */
const IDLE_AFTER_MS = 3_000;

export interface IdleAgent {
  readonly url: string;
  readonly pid: number;
}

/** One agent on a simulated node, registered and idle: nothing has read from it yet. */
export async function startIdleAgent(context: BenchContext, storeUrl: string): Promise<IdleAgent> {
  const { nodes } = await startBenchNodes(context, 1);
  const [node] = nodes;
  if (!node) throw new Error('the simulator has no node');
  const launch = await launchCommand(context, 'agent');
  const { child, listening } = startBenchAgent(context, launch, node, {
    args: ['--store', storeUrl],
    deathWatch: true,
  });
  const { url } = await listening;
  await untilRegistered(context, url);
  await context.clock.sleep(IDLE_AFTER_MS, context.signal);
  return { url, pid: child.pid };
}
