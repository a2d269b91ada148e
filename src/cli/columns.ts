import type { ListFormat } from '../config/flags.ts';
import type { CheckVerdict, Interruption } from '../record/record.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';
import type { NodeSummary } from '../record/summary.ts';
import type { ListField } from './table.ts';

/** Columns that need no more of a record than its summary. */
const SUMMARY_FIELDS = {
  ip: { header: 'IP', value: ({ record }) => record.privateIpAddress },
  instance: { header: 'INSTANCE', value: ({ record }) => record.ec2InstanceId, isId: true },
  state: { header: 'STATE', value: presenceState },
  health: {
    header: 'HEALTH',
    value: ({ record }) => record.health.status,
    // The worst first.
    rank: (status) => ['critical', 'warning', 'passing'].indexOf(status),
  },
  arn: { header: 'CONTAINER INSTANCE ARN', value: ({ record }) => record.containerInstanceArn, isId: true },
  cluster: { header: 'CLUSTER', value: ({ record }) => record.cluster },
  az: { header: 'AZ', value: ({ record }) => record.availabilityZone },
} satisfies Record<string, ListField<RollEntry<NodeSummary>>>;

/** All columns, by their names in `--fields`. */
export const LIST_FIELDS = {
  ...SUMMARY_FIELDS,
  region: { header: 'REGION', value: ({ record }) => record.region },
  type: { header: 'TYPE', value: ({ record }) => record.instanceType },
  lifecycle: { header: 'LIFECYCLE', value: ({ record }) => record.instanceLifecycle },
  image: { header: 'IMAGE', value: ({ record }) => record.imageId, isId: true },
  account: { header: 'ACCOUNT', value: ({ record }) => record.accountId },
  'public-ip': { header: 'PUBLIC IP', value: ({ record }) => record.publicIpAddress },
  dns: { header: 'DNS NAME', value: ({ record }) => record.privateDnsName },
  agent: { header: 'ECS AGENT', value: ({ record }) => record.versionInfo.agentVersion },
  machine: { header: 'MACHINE', value: ({ record }) => record.machineId, isId: true },
  labels: { header: 'LABELS', value: ({ record }) => labelText(record.labels) },
  notice: { header: 'NOTICE', value: ({ record }) => cellOf(noticeText(record.interruption)) },
  cause: { header: 'CAUSE', value: ({ record }) => record.departure?.cause ?? null },
  reason: { header: 'REASON', value: ({ record }) => cellOf(reasonText(record.health.checks)) },
} satisfies Record<string, ListField<RollEntry>>;

export type ListFieldName = keyof typeof LIST_FIELDS;

export const LIST_FIELD_NAMES = Object.keys(LIST_FIELDS) as readonly ListFieldName[];

/** The columns if summaries have them all; else null. */
export function summaryFields(names: readonly ListFieldName[]): readonly ListField<RollEntry<NodeSummary>>[] | null {
  const fields: Readonly<Record<string, ListField<RollEntry<NodeSummary>>>> = SUMMARY_FIELDS;
  const known = names.map((name) => fields[name]).filter((field) => field !== undefined);
  return known.length === names.length ? known : null;
}

/** The columns without `--fields`. The state is shown only if absent nodes are listed too. */
export function defaultFields(format: ListFormat, all: boolean): readonly ListFieldName[] {
  const state: ListFieldName[] = all ? ['state'] : [];
  if (format === 'name') return ['instance'];
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

/** Free text of a record for a table. Two spaces separate columns, so a text that has them could look like several. */
function cellOf(text: string | null): string | null {
  return text === null ? null : text.trim().replaceAll(/\s+/g, ' ');
}

/** The notice of EC2, such as `spot-interruption terminate 2030-01-01T00:00:00Z`. */
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
