import { InvalidArgumentError, Option } from 'commander';
import { clusterName } from '../sources/ecs-arn.ts';
import { durationBetween } from './parse-option.ts';

/** The standing audit, as every agent that takes part in it is told. */
export interface AuditConfig {
  readonly intervalMs: number;
  /** Names or ARNs; or those that nodes on the roll are in; or all of the region. */
  readonly clusters: readonly string[] | 'roll' | 'all';
}

export interface AuditFlags {
  readonly auditInterval?: number;
  readonly auditClusters: AuditConfig['clusters'];
}

const HOUR_MS = 3_600_000;

export function auditOptions(): Option[] {
  return [
    new Option(
      '--audit-interval <duration>',
      'compare the roll with ECS so often, by one agent for the whole fleet; off by default',
    )
      .env('ROLLCALL_AUDIT_INTERVAL')
      .argParser(durationBetween(60_000, 24 * HOUR_MS)),
    new Option('--audit-clusters <names>', 'which ECS clusters, apart by commas, or "all" of the region')
      .env('ROLLCALL_AUDIT_CLUSTERS')
      .default('roll', 'those of the nodes on the roll')
      .argParser(auditClusters),
  ];
}

export function auditConfig(flags: AuditFlags): AuditConfig | null {
  if (flags.auditInterval === undefined) return null;
  return { intervalMs: flags.auditInterval, clusters: flags.auditClusters };
}

function auditClusters(text: string): AuditConfig['clusters'] {
  if (text === 'all') return text;
  const names = [...new Set(text.split(',').map((name) => name.trim()))];
  const wrong = names.find((name) => clusterName(name) === undefined);
  if (wrong !== undefined) {
    throw new InvalidArgumentError(`"${wrong.slice(0, 80)}" is no cluster’s name or ARN; or write all.`);
  }
  return names;
}
