import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { TestContext } from 'node:test';
import type { AgentConfig } from '../../src/agent/agent-config.ts';
import { runAgent } from '../../src/agent/run-agent.ts';
import type { Audit } from '../../src/audit/fleet-audit/fleet.ts';
import type { Probe } from '../../src/checks/probe.ts';
import type { EcsApi, EcsSettings } from '../../src/ecs/ecs-api.ts';
import { NO_ACCESS_FILES } from '../../src/http/access.ts';
import { createCell } from '../../src/lib/cell.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { openStore } from '../../src/store/open-store.ts';
import { type FlakyStore, flakyStore } from '../support/flaky-store.ts';
import { keptLog } from '../support/kept-log.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { seededRandom } from '../support/seeded-random.ts';

/**
 * A simulated node and the store that agents of one test share. The store's leases and the agents' heartbeats go by the same
 * `clock`.
 */
export async function startWorld(t: TestContext, worldClock: Clock = systemClock) {
  const stop = new AbortController();
  const simulator = await startSimulator({ nodes: 1, basePort: 0, cluster: 'demo', seed: 's', clock: systemClock });
  const config = { kind: 'memory', label: 'memory:', name: randomUUID() } as const;
  const options = { clock: worldClock, random: seededRandom(1), create: true, signal: stop.signal };
  const store = await openStore(config, options);
  const [first] = simulator.nodes;
  assert.ok(first);
  const instanceId = first.node.instanceId;
  const ends: Promise<unknown>[] = [];
  t.after(async () => {
    stop.abort(new Error('the test ended'));
    await Promise.all(ends);
    await Promise.all([store.close(), simulator.close()]);
  });
  return {
    instanceId,
    /** Every record that was written, in order. */
    records(): readonly NodeRecord[] {
      const seen: NodeRecord[] = [];
      ends.push(
        (async () => {
          for await (const { changes } of store.watch('0', stop.signal)) {
            for (const change of changes) if (change.kind === 'record' && change.record) seen.push(change.record);
          }
        })().catch(() => {}),
      );
      return seen;
    },
    record: async () => (await store.readOne(instanceId, stop.signal)).entry?.record ?? null,
    setNotices: (notices: Parameters<typeof simulator.setNotices>[1]) => simulator.setNotices(instanceId, notices),
    wipeEcsAgent: () => simulator.restartAgent(instanceId, { wipeCheckpoint: true }),
    setFault: (faults: Parameters<typeof simulator.setFault>[1]) => simulator.setFault(instanceId, faults),
    /** An agent in this process, registered unless its network says otherwise. */
    async startAgent(options: StartOptions = {}) {
      const { clock = worldClock, probes = [], network = flakyStore(store), openEcs = neverAsked } = options;
      const config: AgentConfig = {
        store: { kind: 'memory', label: 'memory:', name: 'unused' },
        presenceTtlMs: 6_000,
        retentionMs: 86_400_000,
        listen: { host: '127.0.0.1', port: 0 },
        access: NO_ACCESS_FILES,
        labels: {},
        identity: { kind: 'ec2' },
        cluster: null,
        metadataEndpoint: first.imdsEndpoint,
        metadataIntervalMs: 200,
        allowImdsV1: false,
        introspectionEndpoint: first.introspectionEndpoint,
        introspectionIntervalMs: 400,
        noticeIntervalMs: 100,
        checks: { dockerSocket: null, disk: null, http: [], exec: [], intervalMs: 1, timeoutMs: 1, rise: 2, fall: 3 },
        massLoss: null,
        audit: null,
        ecs: { region: null, profile: null },
        ecsAttributes: false,
        drain: null,
        machineIdFile: '/nonexistent',
        ...options.config,
      };
      const lines: { level: string; msg: string; url?: string }[] = [];
      const log = keptLog<(typeof lines)[number]>((line) => {
        lines.push(line);
        options.onLog?.(`${line.level}: ${line.msg}`);
      });
      const leaving = createCell(false);
      const deps = {
        store: network,
        clock,
        random: Math.random,
        log,
        version: '1',
        session: randomUUID(),
        leaving,
        probes,
        notify: null,
        ...(options.audit ? { audit: options.audit } : {}),
        openEcs,
        residentBytes: () => process.memoryUsage.rss(),
      };
      const ended = runAgent(config, deps, stop.signal);
      ends.push(ended.catch(() => {}));
      const failed = new AbortController();
      ended.catch((error: unknown) => failed.abort(error));
      await until('the agent answers', PATIENCE_MS, () => lines.some(({ url }) => url), { signal: failed.signal });
      const url = lines.find((line) => line.url)?.url ?? '';
      const headers = { authorization: `Bearer ${options.token}` }; // not looked at where no token is asked for
      const self = async () => JSON.parse(await (await fetch(`${url}/v1/self`, { headers })).text());
      if (network.network === 'up') {
        await until('the agent is registered', PATIENCE_MS, async () => (await self()).lease.state === 'held');
      }
      return {
        network,
        url,
        self,
        log: () => lines.map(({ msg }) => msg),
        /** Each line with its level before it. */
        levelledLog: () => lines.map(({ level, msg }) => `${level}: ${msg}`),
        /** How often a source was read. */
        reads: async (name: string): Promise<number> =>
          (await self()).sources.find((source: { name: string }) => source.name === name)?.reads ?? 0,
        async leave() {
          leaving.set(true);
          await ended;
        },
      };
    },
    store,
  };
}

/** An agent that was not told to ask ECS does not even load what asks it. */
const neverAsked = async (): Promise<EcsApi> => assert.fail('ECS was asked');

interface StartOptions {
  readonly openEcs?: (settings: EcsSettings) => Promise<EcsApi>;
  readonly clock?: Clock;
  readonly probes?: readonly Probe[];
  readonly network?: FlakyStore;
  readonly audit?: Audit;
  readonly config?: Partial<AgentConfig>;
  /** What its port asks for. */
  readonly token?: string;
  /** Each line of its log, with its level before it; also of an agent that does not answer yet. */
  readonly onLog?: (line: string) => void;
}
