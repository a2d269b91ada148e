import { clusterName } from '../../sources/ecs-arn.ts';
import { invalidParameter } from './aws-error.ts';
import { clusterArn } from './cluster-arn.ts';
import { type Failure, type Operation, visibleInstances } from './operation.ts';
import { page } from './page.ts';
import { type EcsWorld, withCluster } from './world.ts';

export const listClusters: Operation = (world, input, { region }) => {
  const here = [...world.clusters].filter((arn) => arn.split(':')[3] === region);
  const { items, ...next } = page(
    here.map((arn) => [arn, arn] as const),
    `ListClusters ${region}`,
    input,
  );
  return { world, body: { clusterArns: items, ...next } };
};

export const describeClusters: Operation = (world, input, { region, nowMs }) => {
  const asked = input.texts('clusters', 100, 'clusters');
  const clusters: unknown[] = [];
  const failures: Failure[] = [];
  for (const name of asked.length === 0 ? ['default'] : asked) {
    const arn = name.startsWith('arn:') ? name : clusterArn(world.accountId, region, name);
    if (world.clusters.has(arn) && arn.split(':')[3] === region) clusters.push(wireCluster(world, arn, nowMs));
    else failures.push({ arn, reason: 'MISSING' });
  }
  return { world, body: { clusters, failures } };
};

/** One that is there already is answered as it is. */
export const createCluster: Operation = (world, input, { region, nowMs }) => {
  const name = input.text('clusterName') ?? 'default';
  if (clusterName(name) !== name) throw invalidParameter('Invalid cluster name.');
  const arn = clusterArn(world.accountId, region, name);
  const grown = withCluster(world, arn);
  return { world: grown, body: { cluster: wireCluster(grown, arn, nowMs) } };
};

function wireCluster(world: EcsWorld, arn: string, nowMs: number): Readonly<Record<string, unknown>> {
  const instances = visibleInstances(world, arn, nowMs).filter(
    ({ status }) => status === 'ACTIVE' || status === 'DRAINING',
  );
  return {
    clusterArn: arn,
    clusterName: clusterName(arn),
    status: 'ACTIVE',
    registeredContainerInstancesCount: instances.length,
    runningTasksCount: instances.reduce((sum, { runningTasksCount }) => sum + runningTasksCount, 0),
    pendingTasksCount: 0,
    activeServicesCount: 0,
    statistics: [],
    tags: [],
    settings: [],
    capacityProviders: [],
    defaultCapacityProviderStrategy: [],
  };
}
