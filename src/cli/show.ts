import { Command } from 'commander';
import { logLevelOption, type OutputFormat, outputOption } from '../config/flags.ts';
import { storeOptions, timeoutOption } from '../config/store-flags.ts';
import { formatDuration } from '../lib/duration.ts';
import { RollcallError, UsageError } from '../lib/errors.ts';
import { INSTANCE_ID } from '../record/codec.ts';
import { describeSkew, onSharedClockMs } from '../record/node-clock.ts';
import type { CheckVerdict } from '../record/record.ts';
import { instanceJson, presenceState, type RollEntry } from '../record/roll.ts';
import { LIST_FIELDS, type ListFieldName } from './columns.ts';
import { type CliContext, type ReadFlags, readFromStore, warnOfRefused, warnOfSkipped } from './context.ts';
import { renderTable } from './table.ts';

const FIELDS: readonly ListFieldName[] = [
  'notice',
  'instance',
  'ip',
  'public-ip',
  'dns',
  'cluster',
  'arn',
  'agent',
  'az',
  'region',
  'type',
  'lifecycle',
  'image',
  'account',
  'machine',
  'labels',
];

/** One node as text. @param nowMs wall clock, for the ages */
export function renderInstance(entry: RollEntry, nowMs: number): string {
  const { record, presence } = entry;
  const since = sinceOf(entry, nowMs);
  const skew = describeSkew(record);
  const rows: [string, string | null][] = [
    ['State', stateText(entry, since)],
    ['Health', `${record.health.status} since ${since(record.health.since)}`],
    ...record.health.checks.map((check): [string, string] => [`  ${check.name}`, checkText(check, since)]),
    ...FIELDS.map((name): [string, string | null] => [title(LIST_FIELDS[name].header), LIST_FIELDS[name].value(entry)]),
    ['Registered', since(record.registeredAt, ' ago')],
    ...(skew === null
      ? []
      : [['Clock', `${skew}; the instants above are by its own clock, the ages are not`] as [string, string]]),
    ['Sidecar', `rollcall ${record.sidecar.version}, session ${record.sidecar.session}`],
    ['Presence', presence ? `session ${presence.session}, TTL ${formatDuration(presence.ttlSeconds * 1_000)}` : null],
  ];
  return renderTable(null, rows);
}

function stateText(entry: RollEntry, since: Since): string {
  const { record, presence } = entry;
  const state = presenceState(entry);
  if (presence) return `${state} since ${since(presence.since)}`;
  if (record.departure) return `${state} (${record.departure.cause}) since ${since(record.departure.at)}`;
  return `${state}: its agent ended without deregistering, or cannot reach the store`;
}

function checkText(check: CheckVerdict, since: Since): string {
  const reason = check.reason === '' ? '' : `: ${check.reason}`;
  return `${check.status} since ${since(check.since)}${reason}`;
}

/** An instant of the record with its age. */
type Since = (instant: string, ago?: string) => string;

/**
 * Ages are from the instant on EC2's clock to this machine's now. Where the node's clock cannot be compared with EC2's,
 * the age says by which clock it is; it is 0 for an instant in the future.
 */
function sinceOf({ record }: RollEntry, nowMs: number): Since {
  const by = record.clockSkewSeconds === null ? ` by ${record.ec2InstanceId}'s clock` : '';
  return (instant, ago = '') => {
    const sharedMs = onSharedClockMs({ clockSkewSeconds: record.clockSkewSeconds ?? 0 }, instant);
    const age = sharedMs === null ? 'unknown' : `${formatDuration(Math.max(0, nowMs - sharedMs))}${ago}${by}`;
    return `${instant} (${age})`;
  };
}

function title(header: string): string {
  const words = header.toLowerCase().replace(/\b(ip|az|dns|ecs|arn)\b/g, (acronym) => acronym.toUpperCase());
  return words.charAt(0).toUpperCase() + words.slice(1);
}

interface ShowFlags extends ReadFlags {
  readonly output: OutputFormat;
}

const EXAMPLES = `
Examples:
  rollcall show i-0abc1234def567890 --store etcd://127.0.0.1:2379
  rollcall show i-0abc1234def567890 -o json | jq .health`;

export function showCommand(context: CliContext): Command {
  const command = new Command('show')
    .description('Print one node: its whole record, with presence and age.')
    .argument('<instance>', 'EC2 instance id')
    .addOption(outputOption())
    .addHelpText('after', EXAMPLES);
  for (const option of [...storeOptions(), timeoutOption(), logLevelOption()]) command.addOption(option);
  return command.action(async (instanceId: string, flags: ShowFlags) => {
    if (!INSTANCE_ID.test(instanceId)) {
      throw new UsageError(
        `"${instanceId}" is not an instance id such as i-0abc1234def567890; rollcall list prints the ids`,
      );
    }
    const { entry, skipped, label } = await readFromStore(context, flags, 'show', async (store, signal) => ({
      ...(await store.readOne(instanceId, signal)),
      label: store.label,
    }));
    warnOfSkipped(context, flags, skipped);
    warnOfRefused(context, flags, entry === null ? [] : [entry]);
    if (!entry)
      throw new RollcallError(`${instanceId} is not on the roll at ${label}; rollcall list --all prints all nodes`);
    await context.stdout(renderNode(flags, entry, context.clock.wallMs()));
  });
}

function renderNode(flags: ShowFlags, entry: RollEntry, nowMs: number): string {
  // The same formats as in list, so that one ROLLCALL_OUTPUT works for both. `wide` is the same as `text`.
  if (flags.output === 'ndjson') return `${JSON.stringify(instanceJson(entry))}\n`;
  if (flags.output === 'json') return `${JSON.stringify(instanceJson(entry), null, 2)}\n`;
  return renderInstance(entry, nowMs);
}
