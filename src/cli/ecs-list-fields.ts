import type { ContainerInstance } from '../ecs/container-instance.ts';

/** A column of `rollcall list --source ecs`. */
export interface EcsListField {
  readonly header: string;
  readonly value: (instance: ContainerInstance) => string | null;
}

/** Every column there is, by the name that `--fields` takes: the store's names where both know the same. */
export const ECS_LIST_FIELDS = {
  // ECS does not know it; the column is there so that a script's --fields=ip,instance,arn works on both.
  ip: { header: 'IP', value: () => null },
  instance: { header: 'INSTANCE', value: ({ ec2InstanceId }) => ec2InstanceId },
  status: { header: 'STATUS', value: ({ status }) => status },
  connected: { header: 'AGENT CONNECTED', value: ({ agentConnected }) => String(agentConnected) },
  arn: { header: 'CONTAINER INSTANCE ARN', value: ({ containerInstanceArn }) => containerInstanceArn },
  cluster: { header: 'CLUSTER', value: ({ cluster }) => cluster },
  az: { header: 'AZ', value: (instance) => attribute(instance, 'ecs.availability-zone') },
  type: { header: 'TYPE', value: (instance) => attribute(instance, 'ecs.instance-type') },
  image: { header: 'IMAGE', value: (instance) => attribute(instance, 'ecs.ami-id') },
  agent: { header: 'ECS AGENT', value: ({ agentVersion }) => agentVersion },
  running: { header: 'RUNNING', value: ({ runningTasksCount }) => String(runningTasksCount) },
  pending: { header: 'PENDING', value: ({ pendingTasksCount }) => String(pendingTasksCount) },
  cpu: { header: 'CPU LEFT', value: ({ remaining, registered }) => left(remaining.cpuUnits, registered.cpuUnits) },
  memory: { header: 'MIB LEFT', value: ({ remaining, registered }) => left(remaining.memoryMiB, registered.memoryMiB) },
  registered: { header: 'REGISTERED', value: ({ registeredAt }) => registeredAt },
} satisfies Record<string, EcsListField>;

export type EcsListFieldName = keyof typeof ECS_LIST_FIELDS;

export const ECS_LIST_FIELD_NAMES = Object.keys(ECS_LIST_FIELDS) as readonly EcsListFieldName[];

/** The columns when `--fields` does not say. */
export function defaultEcsFields(format: 'text' | 'wide', allClusters: boolean): readonly EcsListFieldName[] {
  const cluster: EcsListFieldName[] = allClusters ? ['cluster'] : [];
  if (format === 'text') return ['instance', 'status', 'connected', ...cluster, 'arn'];
  return [
    'instance',
    'status',
    'connected',
    'cluster',
    'az',
    'type',
    'agent',
    'running',
    'pending',
    'cpu',
    'memory',
    'registered',
    'arn',
  ];
}

function attribute({ attributes }: ContainerInstance, name: string): string | null {
  return attributes.find((each) => each.name === name)?.value ?? null;
}

/** What is left, of what there is: `1024/2048`. */
function left(remaining: number, registered: number): string {
  return `${remaining}/${registered}`;
}
