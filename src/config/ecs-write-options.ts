import { InvalidArgumentError, Option } from 'commander';
import { DRAIN_CAUSES, type DrainCause, type DrainConfig } from '../drain/drain-config.ts';
import { durationBetween } from './parse-option.ts';
import { percentBetween } from './parse-percent.ts';

/** What an agent may change in ECS; nothing unless it is said. */
export interface EcsWriteFlags {
  readonly ecsAttributes: boolean;
  readonly drainOn?: readonly DrainCause[];
  readonly drainCriticalAfter: number;
  /** Percent. */
  readonly drainMaxShare: number;
}

export function ecsWriteOptions(): Option[] {
  return [
    new Option(
      '--ecs-attributes',
      'put health, machine id and labels on the container instance as rollcall.… attributes; needs ecs:PutAttributes, ecs:DeleteAttributes, ecs:DescribeContainerInstances',
    )
      .env('ROLLCALL_ECS_ATTRIBUTES')
      .default(false),
    new Option(
      '--drain-on <causes>',
      'have ECS drain this node on "interruption", "critical" or both, apart by a comma; needs ecs:UpdateContainerInstancesState, ecs:DescribeContainerInstances',
    )
      .env('ROLLCALL_DRAIN_ON')
      .argParser(drainCauses),
    new Option('--drain-critical-after <duration>', 'critical for this long drains; not critical for as long undoes it')
      .env('ROLLCALL_DRAIN_CRITICAL_AFTER')
      .default(300_000, '5m')
      .argParser(durationBetween(10_000, 24 * 3_600_000)),
    new Option(
      '--drain-max-share <percent>',
      'of a cluster’s present nodes, how many may drain at once; one always may',
    )
      .env('ROLLCALL_DRAIN_MAX_SHARE')
      .default(10, '10%')
      .argParser(percentBetween(1, 100)),
  ];
}

/** Null: nothing is drained. */
export function drainConfig(flags: EcsWriteFlags): DrainConfig | null {
  if (!flags.drainOn) return null;
  return { on: flags.drainOn, criticalAfterMs: flags.drainCriticalAfter, maxSharePercent: flags.drainMaxShare };
}

function drainCauses(text: string): readonly DrainCause[] {
  const names = text.split(',').map((name) => name.trim());
  const causes = DRAIN_CAUSES.filter((cause) => names.includes(cause));
  if (causes.length === 0 || names.some((name) => !causes.includes(name as DrainCause))) {
    throw new InvalidArgumentError(`Write ${DRAIN_CAUSES.join(', ')} or both, apart by a comma.`);
  }
  return causes;
}
