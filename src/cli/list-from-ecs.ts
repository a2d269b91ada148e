import type { Command } from 'commander';
import { type EcsFlags, ecsSettings } from '../config/ecs-options.ts';
import { isLogged, type LogLevel } from '../config/log-level.ts';
import type { ContainerInstance } from '../ecs/container-instance.ts';
import { containerInstanceJson } from '../ecs/container-instance-json.ts';
import { enumerateInstances } from '../ecs/enumerate-instances.ts';
import { openEcsApi } from '../ecs/open-ecs-api.ts';
import { UsageError } from '../errors.ts';
import { clusterName } from '../sources/ecs-arn.ts';
import { withDeadline } from '../timing/with-deadline.ts';
import type { CliContext } from './cli-context.ts';
import { defaultEcsFields, ECS_LIST_FIELDS, type EcsListFieldName } from './ecs-list-fields.ts';
import { renderTable } from './render-table.ts';

export interface EcsListFlags extends EcsFlags {
  readonly cluster?: string;
  readonly allClusters: boolean;
  readonly output: 'text' | 'wide' | 'json' | 'ndjson';
  readonly fields?: readonly string[];
  readonly legend: boolean;
  readonly logLevel: LogLevel;
}

/** Of the whole list. 10,000 container instances are 200 requests, some 30 s; a throttled account takes longer. */
const LIST_TIMEOUT_MS = 300_000;

/** `rollcall list --source ecs`: needs no store. */
export async function listFromEcs(context: CliContext, flags: EcsListFlags, command: Command): Promise<void> {
  const clusters = clustersOf(flags, command);
  const api = await openEcsApi(ecsSettings(flags), context);
  try {
    const { clock, signal } = context;
    const { instances } = await withDeadline(clock, LIST_TIMEOUT_MS, signal, 'list from ECS', (inner) =>
      enumerateInstances(api, clusters, inner),
    );
    await context.stdout(render(flags, clusters === null, [...instances].sort(byCluster)));
    if (instances.length === 0 && isLogged(flags.logLevel, 'warn')) {
      context.stderr(`no container instance in ${clusters ?? 'any cluster'} (${api.label})`);
    }
  } finally {
    api.close();
  }
}

/** Of a flag and a variable that contradict each other the flag counts. @throws UsageError */
function clustersOf({ cluster, allClusters }: EcsListFlags, command: Command): readonly string[] | null {
  const from = (name: string) => command.getOptionValueSource(name);
  if (cluster !== undefined && allClusters && from('cluster') === from('allClusters')) {
    throw new UsageError(`cluster ${cluster} and --all-clusters contradict each other: leave one out`);
  }
  if (allClusters && from('cluster') !== 'cli') return null;
  if (cluster === undefined)
    throw new UsageError('--source ecs: name a --cluster (ROLLCALL_CLUSTER), or --all-clusters');
  if (clusterName(cluster) === undefined)
    throw new UsageError(`--cluster ${cluster}: neither a cluster’s name nor its ARN`);
  return [cluster];
}

function byCluster(a: ContainerInstance, b: ContainerInstance): number {
  const [first, second] = [a, b].map((each) => [each.cluster, each.ec2InstanceId ?? '', each.containerInstanceArn]);
  return String(first) < String(second) ? -1 : 1;
}

function render(flags: EcsListFlags, allClusters: boolean, instances: readonly ContainerInstance[]): string {
  if (flags.output === 'json') {
    return `${JSON.stringify({ containerInstances: instances.map(containerInstanceJson) }, null, 2)}\n`;
  }
  if (flags.output === 'ndjson')
    return instances.map((each) => `${JSON.stringify(containerInstanceJson(each))}\n`).join('');
  const names =
    (flags.fields as readonly EcsListFieldName[] | undefined) ?? defaultEcsFields(flags.output, allClusters);
  const fields = names.map((name) => ECS_LIST_FIELDS[name]);
  const legend = flags.legend ? fields.map(({ header }) => header) : null;
  return renderTable(
    legend,
    instances.map((instance) => fields.map(({ value }) => value(instance))),
  );
}
