import * as v from 'valibot';
import { UsageError } from '../../errors.ts';
import { clusterName, isContainerInstanceArn } from '../../sources/ecs-arn.ts';
import { ACCOUNT_ID, REGION } from '../simulated-node.ts';
import { clusterArn } from './cluster-arn.ts';
import { INSTANCE_STATUSES } from './instance-operations.ts';
import type { SimulatedInstance } from './simulated-instance.ts';

const amount = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(10_000_000));
const ports = v.pipe(v.array(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535))), v.maxLength(1_000));

const attribute = v.pipe(v.string(), v.minLength(1), v.maxLength(128));

const schema = v.partial(
  v.strictObject({
    containerInstanceArn: v.pipe(v.string(), v.check(isContainerInstanceArn, 'expected a container instance ARN')),
    cluster: v.pipe(
      v.string(),
      v.check((name) => clusterName(name) === name, 'expected the name of a cluster'),
    ),
    ec2InstanceId: v.pipe(v.string(), v.regex(/^m?i-[0-9a-f]{8,17}$/, 'expected i-… or mi-…')),
    status: v.picklist(INSTANCE_STATUSES),
    agentConnected: v.boolean(),
    /** RFC 3339. ECS knew it before: an instance that has just registered is no ghost yet. */
    registeredAt: v.pipe(v.string(), v.isoTimestamp('expected an instant, as 2026-01-01T00:00:00Z')),
    /** What remains. */
    cpuUnits: amount,
    memoryMiB: amount,
    /** In use. */
    ports,
    runningTasksCount: amount,
    /** Beside those that it has; null takes one away. */
    attributes: v.record(attribute, v.nullable(attribute)),
  }),
);

export const INSTANCE_KEYS = Object.keys(schema.entries) as (keyof typeof schema.entries)[];

/** Reads `{"agentConnected":false}`: what it does not name stays. @throws UsageError */
export function parseInstanceChange(value: unknown): (instance: SimulatedInstance) => SimulatedInstance {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (!result.success) {
    const issue = result.issues[0];
    throw new UsageError(`ECS instance: ${v.getDotPath(issue) ?? 'value'}: ${issue.message}`);
  }
  const { cluster, containerInstanceArn, registeredAt, ...rest } = result.output;
  const { cpuUnits, memoryMiB, ports, attributes = {}, ...named } = rest;
  const plain = Object.fromEntries(Object.entries(named).filter(([, one]) => one !== undefined));
  return (instance) => ({
    ...instance,
    ...plain,
    clusterArn: cluster === undefined ? instance.clusterArn : clusterArn(ACCOUNT_ID, REGION, cluster),
    registeredAtMs: registeredAt === undefined ? instance.registeredAtMs : Date.parse(registeredAt),
    containerInstanceArn: containerInstanceArn ?? moved(instance.containerInstanceArn, cluster),
    attributes: new Map(
      Object.entries({ ...Object.fromEntries(instance.attributes), ...attributes }).filter(
        ([name, value]) => value !== null || !(name in attributes),
      ),
    ),
    remaining: {
      ...instance.remaining,
      cpuUnits: cpuUnits ?? instance.remaining.cpuUnits,
      memoryMiB: memoryMiB ?? instance.remaining.memoryMiB,
      ports: ports ?? instance.remaining.ports,
    },
  });
}

/** The newer ARNs name the cluster. */
function moved(arn: string, cluster: string | undefined): string {
  return cluster === undefined ? arn : arn.replace(/\/[^/]+\//, `/${cluster}/`);
}
