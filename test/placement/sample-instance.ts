import type { ContainerInstance, Resources, TaskNeeds } from '../../src/ecs/ecs-api.ts';
import type { Candidate } from '../../src/placement/judge-nodes.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleContainerInstance } from '../support/sample-container-instance.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

export const sampleArn = (n: number) =>
  `arn:aws:ecs:us-east-1:123456789012:container-instance/demo/${n.toString(16).padStart(32, '0')}`;

export function resources(memoryMiB: number, cpuUnits = memoryMiB, taken: Partial<Resources> = {}): Resources {
  return { cpuUnits, memoryMiB, ports: [22, 2375, 2376, 51678, 51679], portsUdp: [], ...taken };
}

/** The container instance of the `n`th node, ACTIVE, connected and without tasks. */
export function sampleInstance(n: number, overrides: Partial<ContainerInstance> = {}): ContainerInstance {
  return sampleContainerInstance(sampleArn(n), sampleInstanceId(n), {
    registered: resources(4_096),
    remaining: resources(4_096),
    attributes: [
      { name: 'ecs.availability-zone', value: 'us-east-1b' },
      { name: 'ecs.instance-type', value: 'm5.xlarge' },
      { name: 'ecs.capability.logging-driver.awslogs', value: null },
      { name: 'rack', value: '7' },
    ],
    ...overrides,
  });
}

/** The `n`th node on the roll, present and passing. */
export function sampleEntry(
  n: number,
  overrides: Partial<NodeRecord> = {},
): RollEntry & { readonly record: NodeRecord } {
  const record = sampleRecord({
    ec2InstanceId: sampleInstanceId(n),
    containerInstanceArn: sampleArn(n),
    privateIpAddress: `10.0.0.${n}`,
    ...overrides,
  });
  return { record, presence: { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 } };
}

export function candidate(n: number, remaining: Resources, tasks = 0, mostTasks = Number.POSITIVE_INFINITY): Candidate {
  return {
    instanceId: sampleInstanceId(n),
    containerInstanceArn: sampleArn(n),
    privateIpAddress: `10.0.0.${n}`,
    remaining,
    tasks,
    mostTasks,
  };
}

export function needs(memoryMiB: number, cpuUnits = 0, ports: readonly number[] = []): TaskNeeds {
  return { cpuUnits, memoryMiB, ports, portsUdp: [] };
}
