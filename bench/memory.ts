import { withDeadline } from '../src/lib/deadline.ts';
import type { Store } from '../src/store/store.ts';
import { type Benchmark, plainFigure } from './benchmark.ts';
import { launchCommand, memoryOf, type ProcessMemory, startChild } from './support/child.ts';
import { leaseOf, startBenchAgent, startBenchEtcd, startBenchNodes, untilRegistered } from './support/fleet.ts';

const PATHS = ['/v1/containerInstances', '/v1/self', '/metrics', '/healthz'];
const IDLE_MS = 5_000;
/** The shortest `--introspection-interval`: each change waits until the agent next polls ecs-agent. */
const POLL_MS = 1_000;
const CHANGE_LIMIT_MS = 15_000;
const READS_PER_CHANGE = 10;

/** How much memory an agent holds, idle and after it has worked. */
export const memory: Benchmark = {
  name: 'memory',
  about: `of one agent, read 5 s after its start, then after HTTP reads of ${PATHS.join(', ')} between changes of its record`,
  async run(context) {
    const changes = context.quick ? 4 : 100;
    const etcd = await startBenchEtcd(context);
    const { simulator, nodes } = await startBenchNodes(context, 1);
    const [node] = nodes;
    if (!node) throw new Error('the simulator has no node');
    const launch = await launchCommand(context, 'agent');
    const args = ['--store', etcd.url, '--introspection-interval', `${POLL_MS / 1_000}s`];
    const { child, listening } = startBenchAgent(context, launch, node, { args, deathWatch: true });
    const bare = startChild(context, [launch.argv[0] ?? '', '-e', 'setInterval(() => {}, 1e6)'], { deathWatch: true });
    const { url } = await listening;
    await untilRegistered(context, url);
    await context.clock.sleep(IDLE_MS, context.signal);
    const idle = await memoryOf(child.pid);

    const store = await etcd.open();
    const arns = newArns(store, (await store.read(context.signal)).revision, context.signal);
    context.progress(`making ${changes} changes, about ${Math.round((changes * POLL_MS) / 1_000)} s`);
    for (let change = 1; change <= changes; change += 1) {
      await simulator.restartAgent(node.instanceId, { wipeCheckpoint: true });
      for (let read = 0; read < READS_PER_CHANGE; read += 1) {
        await readWhole(`${url}${PATHS[read % PATHS.length]}`, context.signal);
      }
      await withDeadline(context.clock, CHANGE_LIMIT_MS, context.signal, 'see the new ARN', () => arns.next());
    }
    const loaded = await memoryOf(child.pid);
    const { recordWrites } = (await leaseOf(url, context.signal)).counts;
    return figures(idle, loaded, await memoryOf(bare.pid), { recordWrites, reads: changes * READS_PER_CHANGE });
  },
};

function figures(
  idle: ProcessMemory,
  loaded: ProcessMemory,
  bare: ProcessMemory,
  work: { readonly recordWrites: number; readonly reads: number },
) {
  const unit = 'MB' as const;
  const peer = (measured: number) => ({ name: 'bare node', measured });
  const atMost = (value: number) => ({ relation: 'at most' as const, value });
  const resident = { unit, peer: peer(bare.residentMb) };
  const anonymous = { unit, peer: peer(bare.anonymousMb) };
  return [
    { name: 'resident, idle', ...resident, measured: idle.residentMb, limit: null },
    { name: 'anonymous, idle', ...anonymous, measured: idle.anonymousMb, limit: null },
    { name: 'resident, after the work', ...resident, measured: loaded.residentMb, limit: atMost(74) },
    { name: 'anonymous, after the work', ...anonymous, measured: loaded.anonymousMb, limit: atMost(25) },
    plainFigure('resident, highest ever', unit, loaded.peakMb),
    plainFigure('HTTP reads', 'count', work.reads),
    plainFigure('record writes', 'count', work.recordWrites),
  ];
}

/** Each new ARN that is written to the store, without end. */
async function* newArns(store: Store, revision: string, signal: AbortSignal): AsyncGenerator<string> {
  for await (const batch of store.watch(revision, signal)) {
    for (const change of batch.changes) {
      if (change.kind !== 'record') continue;
      const arn = change.record?.containerInstanceArn;
      if (arn && arn !== change.previous?.containerInstanceArn) yield arn;
    }
  }
}

async function readWhole(url: string, signal: AbortSignal): Promise<void> {
  const answer = await fetch(url, { signal });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`GET ${url}: ${answer.status}: ${text.slice(0, 500)}`);
}
