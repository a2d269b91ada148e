import { AwsError, invalidParameter } from './aws-error.ts';
import { clusterArn } from './cluster-arn.ts';
import type { RequestInput } from './request-input.ts';
import type { SimulatedInstance } from './simulated-instance.ts';
import type { EcsWorld } from './world.ts';

/** What an operation sees beside the world. */
export interface Circumstances {
  /** That the request was signed for. */
  readonly region: string;
  readonly wallMs: number;
  /** Monotonic. */
  readonly nowMs: number;
}

export interface Outcome {
  readonly world: EcsWorld;
  /** The answer's members. Instants are seconds since the epoch, as AWS's JSON protocols have them. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** @throws AwsError when it refuses the request as a whole */
export type Operation = (world: EcsWorld, input: RequestInput, circumstances: Circumstances) => Outcome;

export interface Failure {
  readonly arn: string;
  readonly reason: string;
}

/** The ARN of the cluster that a request names, by name or ARN; `default` where it names none. */
export function requireCluster(world: EcsWorld, input: RequestInput, { region }: Circumstances): string {
  const asked = input.text('cluster') ?? 'default';
  const arn = asked.startsWith('arn:') ? asked : clusterArn(world.accountId, region, asked);
  // Clusters are of one region: seen from another there is none of that name, not even by its ARN.
  if (world.clusters.has(arn) && arn.split(':')[3] === region) return arn;
  throw new AwsError('ClusterNotFoundException', 'Cluster not found.');
}

/** Those of a cluster that ECS shows by now. */
export function visibleInstances(world: EcsWorld, cluster: string, nowMs: number): readonly SimulatedInstance[] {
  return [...world.instances.values()].filter((one) => one.clusterArn === cluster && one.visibleFromMs <= nowMs);
}

/** The container instances that `containerInstances` of a request names, by id or ARN, in its order. */
export function namedInstances(
  world: EcsWorld,
  input: RequestInput,
  { cluster, max, nowMs }: { readonly cluster: string; readonly max: number; readonly nowMs: number },
): { readonly found: readonly SimulatedInstance[]; readonly failures: readonly Failure[] } {
  const names = input.texts('containerInstances', max, 'instanceIds');
  if (names.length === 0) throw invalidParameter('Container Instances cannot be empty.');
  const found: SimulatedInstance[] = [];
  const failures: Failure[] = [];
  for (const name of names) {
    const instance = findInstance(world, cluster, name, nowMs);
    if (instance) found.push(instance);
    else failures.push({ arn: name.startsWith('arn:') ? name : missingArn(cluster, name), reason: 'MISSING' });
  }
  return { found, failures };
}

export function findInstance(
  world: EcsWorld,
  cluster: string,
  name: string,
  nowMs: number,
): SimulatedInstance | undefined {
  const instance = name.startsWith('arn:')
    ? world.instances.get(name)
    : visibleInstances(world, cluster, nowMs).find((one) => one.containerInstanceArn.endsWith(`/${name}`));
  return instance?.clusterArn === cluster && instance.visibleFromMs <= nowMs ? instance : undefined;
}

/** What AWS makes of an id that it does not know. */
function missingArn(cluster: string, id: string): string {
  return cluster.replace(':cluster/', ':container-instance/').concat(`/${id}`);
}
