import type { BenchContext, Benchmark } from './benchmark.ts';
import { plainFigure } from './figure.ts';
import { launchCommand } from './support/launch-command.ts';
import { readLease } from './support/read-lease.ts';
import { startBenchAgent } from './support/start-bench-agent.ts';
import { startBenchEtcd } from './support/start-bench-etcd.ts';
import { startBenchNodes } from './support/start-bench-nodes.ts';
import { waitUntil } from './support/wait-until.ts';

const AGENTS = 3;
const TTL_MS = 2_000;
/** At the default TTL of 30 s, a beat comes 9 to 10 s after the one before. */
const TEN_MINUTES_OF_BEATS = 67;
/** So short that its lease is kept alive every 5 s, and that these beats are measured too. */
const RETENTION = '1m';
/** Registration, the first look at ecs-agent and what etcd does after its own start are over by then. */
const SETTLING_BEATS = 10;

/** What a roll on which nothing changes costs etcd. */
export const quiet: Benchmark = {
  name: 'quiet',
  about: `${AGENTS} agents beating at a TTL of ${TTL_MS / 1_000} s with nothing changing; ${TEN_MINUTES_OF_BEATS} beats are 10 minutes at the default TTL`,
  async run(context) {
    const beats = context.quick ? 6 : TEN_MINUTES_OF_BEATS;
    const { server, url } = await startBenchEtcd(context);
    const { nodes } = await startBenchNodes(context, AGENTS);
    const { argv: command } = await launchCommand(context, 'agent');
    const args = ['--store', url, '--presence-ttl', `${TTL_MS / 1_000}s`, '--retention', RETENTION];
    const agents = nodes.map((node) => startBenchAgent(context, command, node, { args, deathWatch: true }));
    const agentUrls = (await Promise.all(agents.map(({ listening }) => listening))).map((heard) => heard.url);

    await beatsOf(
      context,
      agentUrls,
      agentUrls.map(() => SETTLING_BEATS),
    );
    const metrics = () =>
      Promise.all(
        ['etcd_server_proposals_committed_total', 'etcd_disk_wal_fsync_duration_seconds_count'].map(server.metric),
      );
    // etcd is asked first and last, so that no beat that is counted lies outside of what is measured.
    const [proposalsBefore = 0, syncsBefore = 0] = await metrics();
    const before = await beatsOf(
      context,
      agentUrls,
      agentUrls.map(() => 0),
    );
    context.progress(`waiting for ${beats} beats of each agent, about ${Math.round((beats * TTL_MS) / 3_000)} s`);
    const after = await beatsOf(
      context,
      agentUrls,
      before.map((count) => count + beats),
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
        'beats of all agents',
        'count',
        counted.reduce((sum, count) => sum + count, 0),
      ),
      plainFigure('beats of the slowest agent', 'count', Math.min(...counted)),
      plainFigure('fsyncs of etcd’s log meanwhile', 'count', syncs - syncsBefore),
    ];
  },
};

/** The counts of beats once every agent has reached its own; a failed beat or a lost lease is no steady state. */
function beatsOf(context: BenchContext, agentUrls: readonly string[], wanted: readonly number[]): Promise<number[]> {
  const limits = { everyMs: 500, limitMs: 30_000 + Math.max(...wanted) * TTL_MS };
  return waitUntil(context, 'the agents have beaten', limits, async (signal) => {
    const leases = await Promise.all(agentUrls.map((agentUrl) => readLease(agentUrl, signal)));
    const troubled = leases.find(({ counts }) => counts.failedBeats + counts.losses + counts.storeErrors > 0);
    if (troubled) throw new Error(`not a steady state: ${JSON.stringify(troubled.counts)}`);
    const reached = leases.every(({ counts }, index) => counts.beats >= (wanted[index] ?? 0));
    return reached ? leases.map(({ counts }) => counts.beats) : null;
  });
}
