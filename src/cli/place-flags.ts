import { InvalidArgumentError, Option } from 'commander';
import {
  type HostPorts,
  hostPorts,
  integerBetween,
  nonEmpty,
  type OutputFormat,
  outputOption,
} from '../config/flags.ts';
import { repeatable } from '../config/flags-without-effect.ts';
import { clusterName } from '../ecs/arn.ts';
import type { TaskNeeds } from '../ecs/ecs-api.ts';
import { UsageError } from '../lib/errors.ts';
import type { Constraint } from '../placement/judge-nodes.ts';
import { STRATEGIES, type Strategy } from '../placement/place-tasks.ts';

/** The name of a label, `az`, `instance-type`, or `attribute:` and the name of an attribute in ECS. */
const NAME = /^(?:attribute:)?[A-Za-z0-9][A-Za-z0-9._/-]{0,127}/;
/** What labels and attributes in ECS may hold, without the comma: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Attribute.html */
const VALUE = /^[A-Za-z0-9_.:/@\\+ -]{1,128}$/;

/** `NAME==VALUE` and `NAME!=VALUE`, several comma-separated or by repeating the flag; spaces around a part are ignored. */
export function constraints(text: string, previous: readonly Constraint[] = []): readonly Constraint[] {
  let from = 0;
  const parsed = text.split(',').map((part) => {
    const constraint = parseOne(part, from);
    from += part.length + 1;
    return constraint;
  });
  return [...previous, ...parsed];
}

/** @param from index in the whole text at which the part begins */
function parseOne(part: string, from: number): Constraint {
  const wrong = (at: number, expected: string) =>
    new InvalidArgumentError(
      `Position ${from + at + 1}: expected ${expected}; write NAME==VALUE or NAME!=VALUE, such as role==node.`,
    );
  const start = part.length - part.trimStart().length;
  const name = NAME.exec(part.slice(start))?.[0];
  if (name === undefined) throw wrong(start, 'the name of a label, az, instance-type or attribute:NAME');
  const operatorAt = start + name.length + (/^ */.exec(part.slice(start + name.length))?.[0].length ?? 0);
  const operator = part.slice(operatorAt, operatorAt + 2);
  if (operator !== '==' && operator !== '!=') throw wrong(operatorAt, '== or !=');
  const value = part.slice(operatorAt + 2).trim();
  if (!VALUE.test(value)) throw wrong(operatorAt + 2, 'a value of 1 to 128 of A-Z a-z 0-9 _ . : / @ \\ + - and space');
  return { name, operator, value };
}

/** More tasks are a deployment, which an ECS service does better. */
const MAX_COUNT = 1_000;
/** The largest instance has 448 vCPU and 24 TiB; more than these is a wrong unit. */
const MAX_CPU_UNITS = 1_024 * 1_024;
const MAX_MEMORY_MIB = 64 * 1_024 * 1_024;

export function placeOptions(): Option[] {
  return [
    new Option('--cluster <name>', 'ECS cluster, by name or ARN').env('ROLLCALL_CLUSTER').argParser(clusterNameOrArn),
    new Option('--cpu <units>', 'CPU units a task takes; 1024 are one vCPU')
      .env('ROLLCALL_CPU')
      .argParser(integerBetween(0, MAX_CPU_UNITS)),
    new Option('--memory <MiB>', 'memory a task takes')
      .env('ROLLCALL_MEMORY')
      .argParser(integerBetween(1, MAX_MEMORY_MIB)),
    repeatable(
      new Option('--ports <list>', 'host ports a task takes, such as 8080,9090/udp; no node gets two such tasks')
        .env('ROLLCALL_PORTS')
        .argParser(hostPorts),
    ),
    new Option(
      '--strategy <name>',
      'binpack: the fullest nodes first; spread: the nodes with the fewest tasks first; random',
    )
      .env('ROLLCALL_STRATEGY')
      .default('binpack')
      .choices([...STRATEGIES]),
    repeatable(
      new Option('--constraint <expr>', 'NAME==VALUE or NAME!=VALUE; repeatable, or comma-separated: all must hold')
        .env('ROLLCALL_CONSTRAINT')
        .default([], 'none')
        .argParser(constraints),
    ),
    new Option('--count <tasks>', 'number of tasks to place, all or none')
      .env('ROLLCALL_COUNT')
      .default(1)
      .argParser(integerBetween(1, MAX_COUNT)),
    new Option('--why', 'give the reason for each node that was passed over, on stderr or in the JSON')
      .env('ROLLCALL_WHY')
      .default(false),
    new Option(
      '--start <taskdef>',
      'start tasks of this definition: family, family:revision or ARN; each takes at least what the definition says',
    )
      .env('ROLLCALL_START')
      .argParser(nonEmpty),
    outputOption(),
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
  readonly output: OutputFormat;
}

/** @returns the cluster as it was given: an ARN keeps its region and account, which ECS checks @throws UsageError */
export function requireClusterFlag({ cluster }: PlaceFlags): string {
  if (cluster === undefined) throw new UsageError('--cluster is missing: name the ECS cluster to place tasks in');
  return cluster;
}

/**
 * What a task takes: the larger of the flags and the task definition, since ECS reserves what the definition says; the
 * ports of both.
 * @param defined null without a task definition @throws UsageError
 */
export function taskNeeds({ cpu, memory, ports }: PlaceFlags, defined: TaskNeeds | null): TaskNeeds {
  if (defined === null && (cpu === undefined || memory === undefined)) {
    const missing = cpu === undefined ? '--cpu' : '--memory';
    throw new UsageError(`${missing} is missing: give what a task takes, such as --cpu 256 --memory 512`);
  }
  return {
    cpuUnits: Math.max(cpu ?? 0, defined?.cpuUnits ?? 0),
    memoryMiB: Math.max(memory ?? 0, defined?.memoryMiB ?? 0),
    ports: [...new Set([...(defined?.ports ?? []), ...(ports?.tcp ?? [])])],
    portsUdp: [...new Set([...(defined?.portsUdp ?? []), ...(ports?.udp ?? [])])],
  };
}

function clusterNameOrArn(text: string): string {
  if (clusterName(text) === undefined) throw new InvalidArgumentError('Write the name or ARN of a cluster.');
  return text;
}
