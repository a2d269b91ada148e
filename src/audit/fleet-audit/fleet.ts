import { clusterName } from '../../ecs/arn.ts';
import type { EcsApi } from '../../ecs/ecs-api.ts';
import { EcsError } from '../../ecs/ecs-errors.ts';
import { disconnectedInstances, isAbsentCluster, listClusters, type OnUnexpected } from '../../ecs/list-instances.ts';
import type { Clock } from '../../lib/clock.ts';
import { RollcallError } from '../../lib/errors.ts';
import { presenceState, type Roll } from '../../record/roll.ts';
import type { MassLossLimits } from '../../registry/mass-loss.ts';
import type { Store } from '../../store/store.ts';
import { StoreError } from '../../store/store-errors.ts';
import type { AuditReport } from '../audit-report.ts';
import { type AuditMemory, MAX_GAP_MS } from '../history.ts';
import type { ConnectionLimits, Disconnected, Poll } from './connections.ts';

/** The continuous audit, as each agent that takes part is configured. */
export interface AuditConfig {
  readonly intervalMs: number;
  /** Names or ARNs; `roll`: those of the nodes on the roll; `all`: all of the region. */
  readonly clusters: readonly string[] | 'roll' | 'all';
  /** Of the polls of the connections. Default: `CONNECTION_LIMITS`. */
  readonly limits?: ConnectionLimits;
}

/** The audit itself, which only the leader runs. */
export interface Audit {
  run(
    memory: AuditMemory,
    signal: AbortSignal,
  ): Promise<{ readonly report: AuditReport; readonly memory: AuditMemory }>;
  /** Asks ECS what it has disconnected now. May run beside `run`, on the same budget of requests. @param known from before */
  disconnected(known: readonly Disconnected[], signal: AbortSignal): Promise<Poll>;
  /** This agent no longer leads: frees what a run opened. */
  release(): void;
}

interface FleetAuditDeps {
  readonly store: Pick<Store, 'read' | 'readOne'>;
  readonly clock: Clock;
  readonly openEcs: (requestsPerSecond: number) => Promise<EcsApi>;
  readonly onUnexpected?: OnUnexpected;
}

/** A poll once a minute must not list the clusters and read the whole roll for them. */
const CLUSTERS_FOR_MS = 300_000;

/** A tenth of what ECS lets an account read in a region: the rest is for all other programs. */
const REQUESTS_PER_SECOND = 2;

/**
 * The audit of the whole fleet. ECS's API is opened by the first run and kept until this agent no longer leads.
 * @param massLoss null: every ghost counts at once
 */
export function fleetAudit(
  { store, clock, openEcs, onUnexpected }: FleetAuditDeps,
  { clusters, intervalMs }: Pick<AuditConfig, 'clusters' | 'intervalMs'>,
  massLoss: MassLossLimits | null,
): Audit {
  const vanish = { massLoss, maxGapMs: Math.max(MAX_GAP_MS, 2 * intervalMs) };
  let opened: Promise<EcsApi> | null = null;
  /** The clusters to poll, and the ARNs of the present nodes by instance id, as they were found. */
  let polled: {
    readonly clusters: readonly string[];
    readonly present: ReadonlyMap<string, string | null>;
    readonly atMs: number;
  } | null = null;
  /** Of all clusters of the region, as ECS last listed them. */
  let listed: readonly string[] = [];

  const ecsApi = (): Promise<EcsApi> => {
    const opening = opened ?? openEcs(REQUESTS_PER_SECOND);
    opened = opening;
    return opening.catch((error: unknown) => {
      if (opened === opening) opened = null;
      throw error;
    });
  };

  const clustersNow = async (ecs: EcsApi, roll: Roll, signal: AbortSignal): Promise<readonly string[]> => {
    if (clusters === 'all') return listClusters(ecs, signal);
    if (clusters === 'roll') return clustersOnRoll(roll, ecs, signal);
    if (clusters.every(isArn)) return clusters;
    // Only an ARN tells the nodes of a cluster from those of its namesake in another region. It is not worth a failed poll.
    listed = await listClusters(ecs, signal).catch((error: unknown) => {
      if (error instanceof EcsError) return listed;
      throw error;
    });
    const arnOf = (name: string) => listed.find((arn) => clusterName(arn) === name) ?? name;
    return [...new Set(clusters.map((each) => (isArn(each) ? each : arnOf(each))))];
  };

  const toPoll = async (ecs: EcsApi, signal: AbortSignal): Promise<NonNullable<typeof polled>> => {
    const nowMs = clock.monotonicMs();
    if (polled && nowMs - polled.atMs < CLUSTERS_FOR_MS) return polled;
    try {
      const roll = await store.read(signal);
      const present = roll.entries.filter(({ presence }) => presence !== null);
      polled = {
        clusters: await clustersNow(ecs, roll, signal),
        present: new Map(present.map(({ record }) => [record.ec2InstanceId, record.containerInstanceArn])),
        atMs: nowMs,
      };
    } catch (error) {
      // A store that is away does not stop the count.
      if (polled === null || !(error instanceof StoreError)) throw error;
    }
    return polled;
  };

  return {
    run: async (memory, signal) => {
      const { runAudit } = await import('../run-audit.ts');
      const ecs = await ecsApi();
      const asked = clusters === 'roll' ? await clustersOnRoll(await store.read(signal), ecs, signal) : clusters;
      const request = { clusters: asked === 'all' ? null : asked, memory, vanish };
      return runAudit({ store, ecs, clock, onUnexpected }, request, signal);
    },
    disconnected: async (known, signal) => {
      const ecs = await ecsApi();
      const { clusters: asked, present } = await toPoll(ecs, signal);
      // Those of former registrations may go: no node is on the roll under their ARNs.
      const current = known.flatMap(({ instanceId, containerInstanceArn: arn }) => {
        return present.get(instanceId) === arn ? [arn] : [];
      });
      const reading = disconnectedInstances(ecs, asked, current, signal, onUnexpected);
      const {
        clusters: read,
        instances,
        gone,
      } = await reading.catch((error: unknown) => {
        if (isAbsentCluster(error)) polled = null;
        throw error;
      });
      const disconnected = instances.flatMap(({ ec2InstanceId: instanceId, containerInstanceArn }) =>
        instanceId === null ? [] : [{ instanceId, containerInstanceArn, present: present.has(instanceId) }],
      );
      return { clusters: read, disconnected, gone };
    },
    release: () => {
      polled = null;
      opened?.then((api) => api.close()).catch(() => {});
      opened = null;
    },
  };
}

/** Of a name or ARN. */
function isArn(cluster: string): boolean {
  return cluster.includes(':');
}

/**
 * The ARNs of the clusters of nodes that are present or lost, as far as this region's ECS has them: one that was deleted,
 * or is in another region, must not fail the audit of all others.
 * @throws RollcallError where ECS has none of them
 */
async function clustersOnRoll({ entries }: Roll, ecs: EcsApi, signal: AbortSignal): Promise<readonly string[]> {
  const there = entries.filter((entry) => presenceState(entry) !== 'departed');
  const names = new Set(there.map(({ record }) => record.cluster).filter((name) => name !== null));
  if (names.size === 0) {
    throw new RollcallError('audit: no node on the roll is in an ECS cluster; see --audit-clusters');
  }
  const arns = await listClusters(ecs, signal);
  const here = arns.filter((arn) => names.has(clusterName(arn) ?? ''));
  if (here.length > 0) return here.toSorted();
  throw new RollcallError(`audit: ${ecs.label} has none of the clusters of the roll: ${[...names].sort().join(', ')}`);
}
