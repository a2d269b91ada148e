import { invalidParameter } from './aws-error.ts';
import { type Failure, namedInstances, type Operation, requireCluster, visibleInstances } from './operation.ts';
import { page } from './page.ts';
import type { SimulatedInstance } from './simulated-instance.ts';
import { wireInstance } from './wire-instance.ts';
import { withInstances } from './world.ts';

export const INSTANCE_STATUSES = ['ACTIVE', 'DRAINING', 'REGISTERING', 'DEREGISTERING', 'REGISTRATION_FAILED'] as const;

export const listContainerInstances: Operation = (world, input, circumstances) => {
  const cluster = requireCluster(world, input, circumstances);
  const status = input.text('status');
  if (status !== undefined && !INSTANCE_STATUSES.some((one) => one === status))
    throw invalidParameter(`Invalid status: ${status}.`);
  if (input.text('filter') !== undefined) throw invalidParameter('The simulator knows no cluster query language.');
  const listed = visibleInstances(world, cluster, circumstances.nowMs).filter(
    (one) => one.status === (status ?? one.status),
  );
  const { items, ...next } = page(
    listed.map(({ containerInstanceArn: arn }) => [arn, arn] as const),
    `ListContainerInstances ${cluster} ${status ?? ''}`,
    input,
  );
  return { world, body: { containerInstanceArns: items, ...next } };
};

export const describeContainerInstances: Operation = (world, input, circumstances) => {
  const cluster = requireCluster(world, input, circumstances);
  const { found, failures } = namedInstances(world, input, { cluster, max: 100, nowMs: circumstances.nowMs });
  return { world, body: { containerInstances: found.map(wireInstance), failures } };
};

export const updateContainerInstancesState: Operation = (world, input, circumstances) => {
  const cluster = requireCluster(world, input, circumstances);
  const status = input.requiredText('status');
  if (status !== 'ACTIVE' && status !== 'DRAINING')
    throw invalidParameter('Container instance status should be one of [ACTIVE,DRAINING].');
  const { found, failures } = namedInstances(world, input, { cluster, max: 10, nowMs: circumstances.nowMs });
  const refused: Failure[] = [];
  const changed: SimulatedInstance[] = [];
  for (const instance of found) {
    // Only what is, or was, ACTIVE can be drained.
    const settled = instance.status === 'ACTIVE' || instance.status === 'DRAINING';
    if (settled) changed.push({ ...instance, status });
    else refused.push({ arn: instance.containerInstanceArn, reason: 'INACTIVE' });
  }
  const body = { containerInstances: changed.map(wireInstance), failures: [...failures, ...refused] };
  return { world: withInstances(world, changed), body };
};
