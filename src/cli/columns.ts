import type { OutputFormat } from '../config/flags.ts';
import { printableLines } from '../lib/foreign-text.ts';
import type { CheckVerdict, Interruption } from '../record/record.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';
import type { NodeSummary } from '../record/summary.ts';
import { isMassLoss, type MassLossLimits } from '../registry/mass-loss.ts';

/** A column of `rollcall list`. */
export interface ListField<Item> {
  readonly header: string;
  readonly value: (item: Item) => string | null;
}

/** Columns that need no more of a record than its summary. */
const SUMMARY_FIELDS = {
  ip: { header: 'IP', value: ({ record }) => record.privateIpAddress },
  instance: { header: 'INSTANCE', value: ({ record }) => record.ec2InstanceId },
  state: { header: 'STATE', value: presenceState },
  health: { header: 'HEALTH', value: ({ record }) => record.health.status },
  arn: { header: 'CONTAINER INSTANCE ARN', value: ({ record }) => record.containerInstanceArn },
  cluster: { header: 'CLUSTER', value: ({ record }) => record.cluster },
  az: { header: 'AZ', value: ({ record }) => record.availabilityZone },
} satisfies Record<string, ListField<RollEntry<NodeSummary>>>;

/** All columns, by their names in `--fields`. */
export const LIST_FIELDS = {
  ...SUMMARY_FIELDS,
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
export function defaultFields(format: OutputFormat, all: boolean): readonly ListFieldName[] {
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

/** More entries than a store can hold. Multiplied by 2^32 addresses it is still an exact integer in a number. */
const MAX_ENTRIES = 2 ** 20;
/** Sorts after all addresses. */
const NO_ADDRESS = 2 ** 32;

/**
 * Sorts entries by private address, numerically; entries without one come last, equal ones keep their order. Address and
 * index are combined into one number, because numbers sort without a callback, which is slow in a process that lists
 * 10,000 nodes once.
 */
export function sortByAddress<R extends NodeSummary>(entries: readonly RollEntry<R>[]): RollEntry<R>[] {
  const addressNumber = createAddressNumber();
  const keys = Float64Array.from(
    entries,
    ({ record }, place) => addressNumber(record.privateIpAddress) * MAX_ENTRIES + place,
  );
  return Array.from(keys.sort(), (key) => entries[key % MAX_ENTRIES]).filter((entry) => entry !== undefined);
}

const IPV4 = /^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$/;

/** Many hosts share a /24, so the part before the last dot is parsed once and kept. */
function createAddressNumber(): (address: string | null) => number {
  const subnets = new Map<string, number>();
  return (address) => {
    if (address === null || !IPV4.test(address)) return NO_ADDRESS;
    const lastAt = address.lastIndexOf('.') + 1;
    const subnet = address.slice(0, lastAt);
    let number = subnets.get(subnet);
    if (number === undefined) {
      number = subnet.split('.').reduce((total, octet) => total * 256 + Number(octet), 0);
      subnets.set(subnet, number);
    }
    return number + Number(address.slice(lastAt));
  };
}

/**
 * Maximum length of a cell; JSON has the whole value. It must be longer than an ARN, which has up to 360 characters with a
 * cluster name of 255.
 */
const MAX_CELL = 400;

/**
 * Formats rows as a table: columns padded to their widest cell, with two spaces between them, `-` for null, no space after
 * the last cell. Control characters, which a record of another node may have, are replaced.
 * @param legend the header row; null: none
 */
export function renderTable(legend: readonly string[] | null, rows: readonly (readonly (string | null)[])[]): string {
  const lines = legend ? [legend, ...rows] : rows;
  const widths = (lines[0] ?? []).map(() => 0);
  // Plain loops, because 10,000 nodes have 40,000 cells and a command ends before its code is optimized.
  const cells = lines.map((line) => {
    const texts: string[] = [];
    for (const cell of line) {
      const text = cellText(cell);
      const column = texts.push(text) - 1;
      if (text.length > (widths[column] ?? 0)) widths[column] = text.length;
    }
    return texts;
  });
  const rendered = cells.map((texts) => {
    const last = texts.pop() ?? '';
    let line = '';
    for (let column = 0; column < texts.length; column += 1) {
      line += `${texts[column]?.padEnd(widths[column] ?? 0)}  `;
    }
    return line + last;
  });
  return printableLines(rendered);
}

/** A list in the format of `-o`. @param json an item as JSON has it @param more members of the object of `-o json` */
export function renderList<Item>(
  { output, legend }: { readonly output: OutputFormat; readonly legend: boolean },
  items: readonly Item[],
  fields: readonly ListField<Item>[],
  json: (item: Item) => unknown,
  more: object = {},
): string {
  if (output === 'json') return `${JSON.stringify({ containerInstances: items.map(json), ...more }, null, 2)}\n`;
  if (output === 'ndjson') return items.map((item) => `${JSON.stringify(json(item))}\n`).join('');
  const rows = items.map((item) => fields.map(({ value }) => value(item)));
  return renderTable(legend ? fields.map(({ header }) => header) : null, rows);
}

function cellText(cell: string | null): string {
  if (cell === null || cell === '') return '-';
  return cell.length > MAX_CELL ? cell.slice(0, MAX_CELL) : cell;
}

const USUAL_TTL_SECONDS = 30;

/** A note if so many nodes are lost that the store or the network may have failed; else null. */
export function massLossNote(
  entries: readonly RollEntry<NodeSummary>[],
  limits: MassLossLimits | null,
  all: boolean,
): string | null {
  const lost = entries.filter((entry) => presenceState(entry) === 'lost').length;
  const present = entries.filter((entry) => entry.presence !== null);
  if (limits === null || !isMassLoss(lost, present.length, limits)) return null;
  const nodes = lost + present.length;
  // A running agent registers again within one TTL after the store is back.
  const ttlSeconds =
    present.reduce((most, { presence }) => Math.max(most, presence?.ttlSeconds ?? 0), 0) || USUAL_TTL_SECONDS;
  return (
    `note: ${lost} of ${nodes} nodes are lost (${percent(lost / nodes)}, more than ${percent(limits.share)}): if this is` +
    ` new, the store or the network may have failed, and running agents are back within ${ttlSeconds}s` +
    `${all ? '' : '; --all shows the lost nodes'}`
  );
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}
