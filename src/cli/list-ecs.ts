import type { Command } from 'commander';
import { type EcsFlags, ecsSettings } from '../config/ecs-flags.ts';
import { isLogged, type ListFormat, type LogLevel } from '../config/flags.ts';
import type { ContainerInstance } from '../ecs/ecs-api.ts';
import { withDeadline } from '../lib/deadline.ts';
import { UsageError } from '../lib/errors.ts';
import type { CliContext } from './context.ts';
import { type ListField, listPieces, sortByFields } from './table.ts';

/** All columns, by their names in `--fields`. Values that the store has too have the same names. */
const ECS_LIST_FIELDS = {
  // ECS has no address. The column exists so that --fields=ip,instance,arn works with both sources.
  ip: { header: 'IP', value: () => null },
  instance: { header: 'INSTANCE', value: ({ ec2InstanceId }) => ec2InstanceId, isId: true },
  status: { header: 'STATUS', value: ({ status }) => status },
  connected: { header: 'AGENT CONNECTED', value: ({ agentConnected }) => String(agentConnected) },
  arn: { header: 'CONTAINER INSTANCE ARN', value: ({ containerInstanceArn }) => containerInstanceArn, isId: true },
  cluster: { header: 'CLUSTER', value: ({ cluster }) => cluster },
  az: { header: 'AZ', value: (instance) => attribute(instance, 'ecs.availability-zone') },
  type: { header: 'TYPE', value: (instance) => attribute(instance, 'ecs.instance-type') },
  image: { header: 'IMAGE', value: (instance) => attribute(instance, 'ecs.ami-id'), isId: true },
  agent: { header: 'ECS AGENT', value: ({ agentVersion }) => agentVersion },
  running: { header: 'RUNNING', value: ({ runningTasksCount }) => String(runningTasksCount) },
  pending: { header: 'PENDING', value: ({ pendingTasksCount }) => String(pendingTasksCount) },
  cpu: { header: 'CPU LEFT', value: ({ remaining, registered }) => left(remaining.cpuUnits, registered.cpuUnits) },
  memory: { header: 'MIB LEFT', value: ({ remaining, registered }) => left(remaining.memoryMiB, registered.memoryMiB) },
  registered: { header: 'REGISTERED', value: ({ registeredAt }) => registeredAt },
} satisfies Record<string, ListField<ContainerInstance>>;

type EcsListFieldName = keyof typeof ECS_LIST_FIELDS;

export const ECS_LIST_FIELD_NAMES = Object.keys(ECS_LIST_FIELDS) as readonly EcsListFieldName[];

/** The columns without `--fields`. */
function defaultEcsFields(format: ListFormat, severalClusters: boolean): readonly EcsListFieldName[] {
  if (format === 'name') return ['instance'];
  const cluster: EcsListFieldName[] = severalClusters ? ['cluster'] : [];
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

/** Remaining and registered: `1024/2048`. */
function left(remaining: number, registered: number): string {
  return `${remaining}/${registered}`;
}

interface EcsListFlags extends EcsFlags {
  readonly cluster?: readonly string[] | undefined;
  readonly allClusters: boolean;
  readonly output: ListFormat;
  readonly fields?: readonly string[];
  readonly sortBy?: readonly string[];
  readonly legend: boolean;
  readonly logLevel: LogLevel;
}

/** Deadline of the whole list. 10,000 container instances are 200 requests, about 30 s; throttling takes longer. */
const LIST_TIMEOUT_MS = 300_000;

/** `rollcall list --source ecs`; it does not use the store. */
export async function listFromEcs(context: CliContext, flags: EcsListFlags, command: Command): Promise<void> {
  const clusters = clustersOf(flags, command);
  // Loaded here, so that a command that asks nothing of ECS does not pay for it.
  const { enumerateInstances, sayUnexpected } = await import('../ecs/list-instances.ts');
  const { openEcsApi } = await import('../ecs/open-ecs-api.ts');
  const onUnexpected = sayUnexpected((line) => {
    if (isLogged(flags.logLevel, 'warn')) context.stderr(line);
  });
  const api = await openEcsApi({ ...ecsSettings(flags), keepWhole: isJson(flags) }, context);
  try {
    const { clock, signal } = context;
    const { instances } = await withDeadline(clock, LIST_TIMEOUT_MS, signal, 'list from ECS', (inner) =>
      enumerateInstances(api, clusters, inner, onUnexpected),
    );
    const given = flags.output === 'name' ? undefined : (flags.fields as readonly EcsListFieldName[] | undefined);
    const fields = (given ?? defaultEcsFields(flags.output, clusters?.length !== 1)).map(
      (name) => ECS_LIST_FIELDS[name],
    );
    const sorting = (flags.sortBy ?? []) as readonly EcsListFieldName[];
    const sorted = sortByFields(
      [...instances].sort(byCluster),
      sorting.map((name) => ECS_LIST_FIELDS[name]),
    );
    for (const piece of listPieces(flags, sorted, fields, ({ described }) => described)) await context.stdout(piece);
    if (instances.length === 0 && isLogged(flags.logLevel, 'warn')) {
      context.stderr(`no container instance in ${clusters?.join(', ') ?? 'any cluster'} (${api.label})`);
    }
  } finally {
    api.close();
  }
}

const isJson = ({ output }: EcsListFlags): boolean => output === 'json' || output === 'ndjson';

/** A flag takes precedence over the variable of the other flag. @returns null: all clusters @throws UsageError */
function clustersOf({ cluster, allClusters }: EcsListFlags, command: Command): readonly string[] | null {
  const from = (name: string) => command.getOptionValueSource(name);
  if (cluster !== undefined && allClusters && from('cluster') === from('allClusters')) {
    throw new UsageError(`cluster ${cluster.join(', ')} and --all-clusters exclude each other; remove one of them`);
  }
  if (allClusters && from('cluster') !== 'cli') return null;
  if (cluster === undefined) throw new UsageError('--source ecs needs --cluster (ROLLCALL_CLUSTER) or --all-clusters');
  return cluster;
}

function byCluster(a: ContainerInstance, b: ContainerInstance): number {
  const [first, second] = [a, b].map((each) => [each.cluster, each.ec2InstanceId ?? '', each.containerInstanceArn]);
  return String(first) < String(second) ? -1 : 1;
}
