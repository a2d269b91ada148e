import type { CheckVerdict, Interruption } from '../record/record.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';

/** A column of `rollcall list`. */
export interface ListField {
  readonly header: string;
  readonly value: (entry: RollEntry) => string | null;
}

/** Every column there is, by the name that `--fields` takes. */
export const LIST_FIELDS = {
  ip: { header: 'IP', value: ({ record }) => record.privateIpAddress },
  instance: { header: 'INSTANCE', value: ({ record }) => record.ec2InstanceId },
  state: { header: 'STATE', value: presenceState },
  health: { header: 'HEALTH', value: ({ record }) => record.health.status },
  arn: { header: 'CONTAINER INSTANCE ARN', value: ({ record }) => record.containerInstanceArn },
  cluster: { header: 'CLUSTER', value: ({ record }) => record.cluster },
  az: { header: 'AZ', value: ({ record }) => record.availabilityZone },
  region: { header: 'REGION', value: ({ record }) => record.region },
  type: { header: 'TYPE', value: ({ record }) => record.instanceType },
  lifecycle: { header: 'LIFECYCLE', value: ({ record }) => record.instanceLifecycle },
  image: { header: 'IMAGE', value: ({ record }) => record.imageId },
  account: { header: 'ACCOUNT', value: ({ record }) => record.accountId },
  'public-ip': { header: 'PUBLIC IP', value: ({ record }) => record.publicIpAddress },
  dns: { header: 'DNS NAME', value: ({ record }) => record.privateDnsName },
  agent: { header: 'ECS AGENT', value: ({ record }) => record.versionInfo.agentVersion },
  machine: { header: 'MACHINE', value: ({ record }) => record.machineId },
  labels: { header: 'LABELS', value: ({ record }) => labelText(record.labels) },
  notice: { header: 'NOTICE', value: ({ record }) => noticeText(record.interruption) },
  cause: { header: 'CAUSE', value: ({ record }) => record.departure?.cause ?? null },
  reason: { header: 'REASON', value: ({ record }) => reasonText(record.health.checks) },
} satisfies Record<string, ListField>;

export type ListFieldName = keyof typeof LIST_FIELDS;

export const LIST_FIELD_NAMES = Object.keys(LIST_FIELDS) as readonly ListFieldName[];

/** The columns when `--fields` does not say. The state only tells something where not all nodes are present. */
export function defaultFields(format: 'text' | 'wide', all: boolean): readonly ListFieldName[] {
  const state: ListFieldName[] = all ? ['state'] : [];
  if (format === 'text') return ['ip', 'instance', ...state, 'health', 'arn'];
  return [
    'ip',
    'instance',
    'state',
    'health',
    'cluster',
    'az',
    'type',
    'lifecycle',
    'agent',
    'machine',
    'arn',
    'notice',
    'cause',
    'reason',
  ];
}

function labelText(labels: Readonly<Record<string, string>>): string | null {
  return (
    Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(',') || null
  );
}

/** What EC2 has announced, as `spot-interruption terminate 2030-01-01T00:00:00Z`. */
function noticeText(interruption: Interruption | null): string | null {
  if (!interruption) return null;
  const { kind, action, time } = interruption;
  return [kind, action, time].filter((part) => part !== null).join(' ');
}

function reasonText(checks: readonly CheckVerdict[]): string | null {
  return (
    checks
      .filter((check) => check.status !== 'passing')
      .map((check) => `${check.name}: ${check.reason}`)
      .join('; ') || null
  );
}
