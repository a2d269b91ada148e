import { isIPv6 } from 'node:net';
import type { NodeRecord } from '../record/record.ts';
import type { PresenceState } from '../record/roll.ts';

/** A scrape target as Prometheus' http_sd takes it. */
export interface TargetGroup {
  readonly targets: readonly [string];
  /** What is not known of a node has no label. */
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * @param presence `uncertain`: its loss is held back
 * @returns null for a node without a private address, which nobody could scrape
 */
export function targetGroup(
  record: NodeRecord,
  presence: PresenceState | 'uncertain',
  port: number,
): TargetGroup | null {
  const { privateIpAddress: address } = record;
  if (address === null) return null;
  const known = {
    instance_id: record.ec2InstanceId,
    container_instance_arn: record.containerInstanceArn,
    cluster: record.cluster,
    availability_zone: record.availabilityZone,
    region: record.region,
    instance_type: record.instanceType,
    instance_lifecycle: record.instanceLifecycle,
    machine_id: record.machineId,
    health: record.health.status,
    presence,
    private_ip: address,
    ...sanitized(record.labels),
  };
  const labels: Record<string, string> = {};
  for (const [name, value] of Object.entries(known)) if (value !== null) labels[`__meta_rollcall_${name}`] = value;
  return { targets: [`${isIPv6(address) ? `[${address}]` : address}:${port}`], labels };
}

/** Where two names become one, the last in the order of the names wins, so that every scrape sees the same. */
function sanitized(labels: NodeRecord['labels']): Record<string, string> {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(sorted.map(([name, value]) => [`label_${name.replace(/[^a-zA-Z0-9_]/g, '_')}`, value]));
}
