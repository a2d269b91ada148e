import { Command } from 'commander';
import { logLevelOption, type OutputFormat, outputOption } from '../config/flags.ts';
import { storeOptions, timeoutOption } from '../config/store.ts';
import { formatDuration } from '../lib/duration.ts';
import { RollcallError, UsageError } from '../lib/errors.ts';
import { INSTANCE_ID } from '../record/codec.ts';
import type { CheckVerdict } from '../record/record.ts';
import { instanceJson, presenceState, type RollEntry } from '../record/roll.ts';
import { LIST_FIELDS, type ListFieldName, renderTable } from './columns.ts';
import { type CliContext, type ReadFlags, readFromStore, warnOfRefused, warnOfSkipped } from './context.ts';

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
  const rows: [string, string | null][] = [
    ['State', stateText(entry, nowMs)],
    ['Health', `${record.health.status} ${since(record.health.since, nowMs)}`],
    ...record.health.checks.map((check): [string, string] => [`  ${check.name}`, checkText(check, nowMs)]),
    ...FIELDS.map((name): [string, string | null] => [title(LIST_FIELDS[name].header), LIST_FIELDS[name].value(entry)]),
    ['Registered', `${record.registeredAt} (${age(record.registeredAt, nowMs)} ago)`],
    ['Sidecar', `rollcall ${record.sidecar.version}, session ${record.sidecar.session}`],
    ['Presence', presence ? `session ${presence.session}, TTL ${formatDuration(presence.ttlSeconds * 1_000)}` : null],
  ];
  return renderTable(null, rows);
}

function stateText(entry: RollEntry, nowMs: number): string {
  const { record, presence } = entry;
  const state = presenceState(entry);
  if (presence) return `${state} ${since(presence.since, nowMs)}`;
  if (record.departure) return `${state} (${record.departure.cause}) ${since(record.departure.at, nowMs)}`;
  return `${state}: its agent ended without deregistering, or cannot reach the store`;
}

function checkText(check: CheckVerdict, nowMs: number): string {
  const reason = check.reason === '' ? '' : `: ${check.reason}`;
  return `${check.status} ${since(check.since, nowMs)}${reason}`;
}

function since(instant: string, nowMs: number): string {
  return `since ${instant} (${age(instant, nowMs)})`;
}

/** Another node's clock may be ahead of this one, so an instant may be in the future; its age is then 0. */
function age(instant: string, nowMs: number): string {
  const instantMs = Date.parse(instant);
  return Number.isNaN(instantMs) ? 'unknown' : formatDuration(Math.max(0, nowMs - instantMs));
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
