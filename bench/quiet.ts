import type { LeaseCounts } from '../src/http/agent-report.ts';
import { until } from '../test/support/machine-time.ts';
import { type BenchContext, type Benchmark, plainFigure } from './benchmark.ts';
import { launchCommand } from './support/child.ts';
import { leaseOf, startBenchAgent, startBenchEtcd, startBenchNodes } from './support/fleet.ts';

const AGENTS = 3;
const TTL_MS = 2_000;
/** At the default TTL of 30 s, heartbeats are 9 to 10 s apart. */
const TEN_MINUTES_OF_HEARTBEATS = 67;
/** So short that this lease is renewed every 5 s, and these renewals are measured, too. */
const RETENTION = '1m';
/** By then registration, the first poll of ecs-agent and etcd's own start are over. */
const FIRST_HEARTBEATS = 10;

/** What a roll on which nothing changes costs etcd. */
export const quiet: Benchmark = {
  name: 'quiet',
  about: `${AGENTS} agents with heartbeats at a TTL of ${TTL_MS / 1_000} s with nothing changing; ${TEN_MINUTES_OF_HEARTBEATS} heartbeats are 10 minutes at the default TTL`,
  async run(context) {
    const heartbeats = context.quick ? 6 : TEN_MINUTES_OF_HEARTBEATS;
    const { server, url } = await startBenchEtcd(context);
    const { nodes } = await startBenchNodes(context, AGENTS);
    const launch = await launchCommand(context, 'agent');
    const args = ['--store', url, '--presence-ttl', `${TTL_MS / 1_000}s`, '--retention', RETENTION];
    const agents = nodes.map((node) => startBenchAgent(context, launch, node, { args, deathWatch: true }));
    const agentUrls = (await Promise.all(agents.map(({ listening }) => listening))).map((heard) => heard.url);

    await heartbeatsOf(
      context,
      agentUrls,
      agentUrls.map(() => FIRST_HEARTBEATS),
    );
    const metrics = () =>
      Promise.all(
        ['etcd_server_proposals_committed_total', 'etcd_disk_wal_fsync_duration_seconds_count'].map(server.metric),
      );
    // etcd is read first and last, so that every counted heartbeat is within the measurement.
    const [proposalsBefore = 0, syncsBefore = 0] = await metrics();
    const before = await heartbeatsOf(
      context,
      agentUrls,
      agentUrls.map(() => 0),
    );
    context.progress(
      `waiting for ${heartbeats} heartbeats of each agent, about ${Math.round((heartbeats * TTL_MS) / 3_000)} s`,
    );
    const after = await heartbeatsOf(
      context,
      agentUrls,
      before.map((count) => count + heartbeats),
    );
    const [proposals = Number.NaN, syncs = Number.NaN] = await metrics();

    const counted = after.map((count, index) => count - (before[index] ?? 0));
    return [
      {
        name: 'raft proposals committed meanwhile',
        unit: 'count',
        measured: proposals - proposalsBefore,
        limit: { relation: 'at most', value: 0 },
        peer: null,
      },
      plainFigure(
        'heartbeats of all agents',
        'count',
        counted.reduce((sum, count) => sum + count, 0),
      ),
      plainFigure('heartbeats of the slowest agent', 'count', Math.min(...counted)),
      plainFigure('fsyncs of etcd’s log meanwhile', 'count', syncs - syncsBefore),
    ];
  },
};

/**
 * The heartbeat counts once every agent has reached its wanted count.
 * @throws Error when a heartbeat failed or a lease was lost: that is no steady state
 */
async function heartbeatsOf(
  { signal }: BenchContext,
  agentUrls: readonly string[],
  wanted: readonly number[],
): Promise<number[]> {
  let all: LeaseCounts[] = [];
  let troubled: LeaseCounts | undefined;
  const reached = async () => {
    all = (await Promise.all(agentUrls.map((agentUrl) => leaseOf(agentUrl, signal)))).map(({ counts }) => counts);
    troubled = all.find(({ failedBeats, losses, storeErrors }) => failedBeats + losses + storeErrors > 0);
    return troubled !== undefined || all.every(({ beats }, index) => beats >= (wanted[index] ?? 0));
  };
  const limitMs = 30_000 + Math.max(...wanted) * TTL_MS;
  await until('the agents have sent their heartbeats', limitMs, reached, { everyMs: 500, signal });
  if (troubled) throw new Error(`not a steady state: ${JSON.stringify(troubled)}`);
  return all.map(({ beats }) => beats);
}
