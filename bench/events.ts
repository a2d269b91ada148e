import type { Store } from '../src/store/store.ts';
import { until } from '../test/support/machine-time.ts';
import { type BenchContext, type Benchmark, type Figure, plainFigure, quantile } from './benchmark.ts';
import type { Arrivals } from './support/arrivals.ts';
import { launchCommand, memoryOf } from './support/child.ts';
import { type IdleAgent, type RegisteredNode, registerNodes, startBenchEtcd, startIdleAgent } from './support/fleet.ts';
import { followLines, startEventReaders } from './support/followers.ts';

const NODES = 100;
/** The mean time between changes, which come at random instants. */
const MEAN_PAUSE_MS = 200;
/** By then all readers have printed their last lines. */
const DRAIN_MS = 1_000;
const FLOOD_AT_ONCE = 16;
const LIMIT = { relation: 'under', value: 100 } as const;

/** How long a change takes from etcd to its readers, with the most readers that one agent accepts. */
export const events: Benchmark = {
  name: 'events',
  about: `from the instant before a change is sent to etcd (${NODES} nodes, fsync) until its line is out of a reader's socket or pipe; one reader more of the agent never reads`,
  async run(context) {
    const { readers, changes } = context.quick ? { readers: 49, changes: 20 } : { readers: 999, changes: 300 };
    const etcd = await startBenchEtcd(context);
    const store = await etcd.open();
    const nodes = await registerNodes(context, store, NODES);
    const agent = await startIdleAgent(context, etcd.url);
    const idle = await memoryOf(agent.pid);

    const { revision } = await store.read(context.signal);
    const eventsUrl = `${agent.url}/v1/events?since=${revision}`;
    const stream = await startEventReaders(context, eventsUrl, { readers, silent: 1 });
    const watch = [...(await launchCommand(context, 'watch')).argv, 'watch', '--store', etcd.url, '--since', revision];
    const etcdctl = ['etcdctl', `--endpoints=${etcd.server.clientUrl}`, 'watch', '--prefix', '/rollcall/v1/'];
    const lines = followLines(context, watch, '"revision":"');
    const peer = followLines(context, [...etcdctl, `--rev=${BigInt(revision) + 1n}`, '-w', 'json'], '"mod_revision":');
    await seenBy(context, [lines, peer], (await change(context, store, nodes, 0)).revision);
    const opened = await memoryOf(agent.pid);

    context.progress(`making ${changes} changes, about ${(changes * MEAN_PAUSE_MS) / 1_000} s`);
    const sent = new Map<string, number>();
    for (let n = 1; n <= changes; n += 1) {
      await context.clock.sleep(2 * MEAN_PAUSE_MS * context.random(), context.signal);
      const { revision: changed, sentMs } = await change(context, store, nodes, n);
      sent.set(changed, sentMs);
    }
    await context.clock.sleep(DRAIN_MS, context.signal);
    const after = await memoryOf(agent.pid);
    const streamed = await stream.stop();
    const flooded = await flood(context, store, nodes, agent);
    const received = latencies(sent, streamed);
    return [
      ...latencyFigures(`/v1/events, ${readers} readers`, received, latencies(sent, peer)),
      ...latencyFigures('rollcall watch', latencies(sent, lines), latencies(sent, peer)),
      {
        name: 'lines that did not come',
        unit: 'count',
        measured: changes * (readers + 1) - received.length - latencies(sent, lines).length,
        limit: { relation: 'at most', value: 0 },
        peer: null,
      },
      plainFigure('agent resident, idle', 'MB', idle.residentMb),
      plainFigure('agent resident, all readers open', 'MB', opened.residentMb),
      plainFigure('agent resident, after the changes', 'MB', after.residentMb),
      ...flooded,
    ];
  },
};

/**
 * Makes changes as fast as the store accepts them: more than the log of events and a socket's buffers hold, beside one
 * reader that reads and one that does not. First until everything bounded is full, then as many again.
 */
async function flood(
  context: BenchContext,
  store: Store,
  nodes: readonly RegisteredNode[],
  agent: IdleAgent,
): Promise<readonly Figure[]> {
  const changes = context.quick ? 200 : 6_000;
  const { revision } = await store.read(context.signal);
  const eventsUrl = `${agent.url}/v1/events?since=${revision}`;
  const stream = await startEventReaders(context, eventsUrl, { readers: 1, silent: 1 });
  let next = 0;
  const burst = async (until: number) => {
    // Each worker has its own nodes: of two concurrent changes of one node only the later counts.
    const worker = async (_: unknown, first: number) => {
      const own = nodes.filter((_node, index) => index % FLOOD_AT_ONCE === first);
      while (next < until) await change(context, store, own, next++, 'flood');
    };
    await Promise.all(Array.from({ length: FLOOD_AT_ONCE }, worker));
    await context.clock.sleep(DRAIN_MS, context.signal);
    return memoryOf(agent.pid);
  };
  context.progress(`making ${2 * changes} changes as fast as etcd takes them`);
  const full = await burst(changes);
  const again = await burst(2 * changes);
  const received = (await stream.stop()).size;
  return [
    plainFigure(`agent resident, ${changes} changes more`, 'MB', full.residentMb),
    {
      name: `growth by ${changes} changes more`,
      unit: 'MB',
      measured: again.residentMb - full.residentMb,
      limit: { relation: 'at most', value: 5 },
      peer: null,
    },
    {
      name: 'changes that the reading one did not get',
      unit: 'count',
      measured: 2 * changes - received,
      limit: { relation: 'at most', value: 0 },
      peer: null,
    },
  ];
}

/** Changes a label of one node. @param name the label: a different one for each caller, so that each change changes it */
async function change(
  { clock, signal }: BenchContext,
  store: Store,
  nodes: readonly RegisteredNode[],
  n: number,
  name = 'change',
) {
  const node = nodes[n % nodes.length];
  if (!node) throw new Error('there are no nodes');
  const { hold, record } = node;
  const sentMs = clock.monotonicMs();
  const outcome = await store.update(hold, { ...record, labels: { ...record.labels, [name]: String(n) } }, signal);
  if (outcome.kind !== 'written') throw new Error(`change ${record.ec2InstanceId}: ${outcome.kind}`);
  return { revision: outcome.revision, sentMs };
}

async function seenBy(context: BenchContext, all: readonly Arrivals[], revision: string): Promise<void> {
  const areFollowing = () => all.every((arrivals) => arrivals.has(revision));
  await until('every command follows', 10_000, areFollowing, { signal: context.signal });
}

/** The latency of each change at each reader. */
function latencies(sent: ReadonlyMap<string, number>, arrivals: Arrivals): number[] {
  return [...sent].flatMap(([revision, sentMs]) => (arrivals.get(revision) ?? []).map((atMs) => atMs - sentMs));
}

function latencyFigures(what: string, measured: readonly number[], etcdctl: readonly number[]): Figure[] {
  const figure = (name: string, share: number, limit: Figure['limit']): Figure => ({
    name: `${what}: ${name}`,
    unit: 'ms',
    measured: quantile(measured, share),
    limit,
    peer: { name: 'etcdctl watch', measured: quantile(etcdctl, share) },
  });
  return [figure('median', 0.5, null), figure('p99', 0.99, LIMIT), figure('max', 1, null)];
}
