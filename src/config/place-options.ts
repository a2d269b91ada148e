import { InvalidArgumentError, Option } from 'commander';
import type { TaskNeeds } from '../ecs/task-needs.ts';
import { UsageError } from '../errors.ts';
import type { Constraint } from '../placement/constraint.ts';
import { STRATEGIES, type Strategy } from '../placement/strategies.ts';
import { clusterName } from '../sources/ecs-arn.ts';
import { constraints } from './parse-constraint.ts';
import { integerBetween, nonEmpty } from './parse-option.ts';
import { type HostPorts, hostPorts } from './parse-ports.ts';

/** More in one go is a deployment, which a service does better. */
const MAX_COUNT = 1_000;
/** The largest instance has 448 vCPU and 24 TiB; beyond these a unit was mistaken. */
const MAX_CPU_UNITS = 1_024 * 1_024;
const MAX_MEMORY_MIB = 64 * 1_024 * 1_024;

export function placeOptions(): Option[] {
  return [
    new Option('--cluster <name>', 'ECS cluster, by name or ARN').env('ROLLCALL_CLUSTER').argParser(cluster),
    new Option('--cpu <units>', 'CPU units a task takes; 1024 are one vCPU')
      .env('ROLLCALL_CPU')
      .argParser(integerBetween(0, MAX_CPU_UNITS)),
    new Option('--memory <MiB>', 'memory a task takes')
      .env('ROLLCALL_MEMORY')
      .argParser(integerBetween(1, MAX_MEMORY_MIB)),
    new Option('--ports <list>', 'host ports a task takes, as 8080,9090/udp; no node gets two such tasks')
      .env('ROLLCALL_PORTS')
      .argParser(hostPorts),
    new Option(
      '--strategy <name>',
      'binpack: the fewest nodes, the fullest first; spread: where the fewest tasks are; random',
    )
      .env('ROLLCALL_STRATEGY')
      .default('binpack')
      .choices([...STRATEGIES]),
    new Option('--constraint <expr>', 'NAME==VALUE or NAME!=VALUE; repeatable, or apart by commas: all must hold')
      .env('ROLLCALL_CONSTRAINT')
      .default([], 'none')
      .argParser(constraints),
    new Option('--count <tasks>', 'how many tasks to place, all or none')
      .env('ROLLCALL_COUNT')
      .default(1)
      .argParser(integerBetween(1, MAX_COUNT)),
    new Option('--why', 'say of each node that was passed over why, on stderr or in the JSON')
      .env('ROLLCALL_WHY')
      .default(false),
    new Option('--start <taskdef>', 'start the tasks: family, family:revision or ARN; they take at least what it says')
      .env('ROLLCALL_START')
      .argParser(nonEmpty),
    new Option('-o, --output <format>', 'how to print it')
      .env('ROLLCALL_OUTPUT')
      .default('text')
      .choices(['text', 'wide', 'json', 'ndjson']),
  ];
}

export interface PlaceFlags {
  readonly cluster?: string;
  readonly cpu?: number;
  readonly memory?: number;
  readonly ports?: HostPorts;
  readonly strategy: Strategy;
  readonly constraint: readonly Constraint[];
  readonly count: number;
  readonly why: boolean;
  readonly start?: string;
  readonly output: 'text' | 'wide' | 'json' | 'ndjson';
}

/** @returns the cluster as it was named: an ARN says of which region and account, and ECS holds it to that @throws UsageError */
export function requireCluster({ cluster }: PlaceFlags): string {
  if (cluster === undefined) throw new UsageError('--cluster is missing: tasks are placed within one cluster');
  return cluster;
}

/**
 * What a task takes: as the flags say, and of a task definition no less than it says, since ECS reserves that whatever
 * is asked here; the ports of both.
 * @param defined null where no task definition was named @throws UsageError
 */
export function taskNeeds({ cpu, memory, ports }: PlaceFlags, defined: TaskNeeds | null): TaskNeeds {
  if (defined === null && (cpu === undefined || memory === undefined)) {
    const missing = cpu === undefined ? '--cpu' : '--memory';
    throw new UsageError(`${missing} is missing: say what a task takes, as --cpu 256 --memory 512`);
  }
  return {
    cpuUnits: Math.max(cpu ?? 0, defined?.cpuUnits ?? 0),
    memoryMiB: Math.max(memory ?? 0, defined?.memoryMiB ?? 0),
    ports: [...new Set([...(defined?.ports ?? []), ...(ports?.tcp ?? [])])],
    portsUdp: [...new Set([...(defined?.portsUdp ?? []), ...(ports?.udp ?? [])])],
  };
}

function cluster(text: string): string {
  if (clusterName(text) === undefined) throw new InvalidArgumentError('Write the name of a cluster, or its ARN.');
  return text;
}
