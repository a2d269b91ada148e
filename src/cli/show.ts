import { Command } from 'commander';
import { type ListFormat, logLevelOption, outputOption } from '../config/flags.ts';
import { readOptions } from '../config/store-flags.ts';
import { formatDuration } from '../lib/duration.ts';
import { RollcallError, UsageError } from '../lib/errors.ts';
import { INSTANCE_ID } from '../record/codec.ts';
import { findNode, isLongId } from '../record/find-nodes.ts';
import { describeRefused, describeSkipped, notesOf } from '../record/flaws.ts';
import { describeSkew, onEc2ClockMs } from '../record/node-clock.ts';
import type { CheckVerdict } from '../record/record.ts';
import { instanceJson, presenceState, type Roll, type RollEntry } from '../record/roll.ts';
import { ROOT } from '../store/keys.ts';
import { describeUnread } from '../store/unreadable-nodes.ts';
import { LIST_FIELDS, type ListFieldName } from './columns.ts';
import { type CliContext, type ReadFlags, warn } from './context.ts';
import { type RollReader, withRoll } from './roll-reader.ts';
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
    const sharedMs = onEc2ClockMs({ clockSkewSeconds: record.clockSkewSeconds ?? 0 }, instant);
    const age = sharedMs === null ? 'unknown' : `${formatDuration(Math.max(0, nowMs - sharedMs))}${ago}${by}`;
    return `${instant} (${age})`;
  };
}

function title(header: string): string {
  const words = header.toLowerCase().replace(/\b(ip|az|dns|ecs|arn)\b/g, (acronym) => acronym.toUpperCase());
  return words.charAt(0).toUpperCase() + words.slice(1);
}

interface ShowFlags extends ReadFlags {
  readonly output: ListFormat;
}

const EXAMPLES = `
NODE is an instance id or a start of it that no other node has, an address, the
ARN of the container instance, or a machine id. With -o json one NODE is the
record, several are the object that list prints. Exit status 1 if a NODE is not
on the roll.

Examples:
  rollcall show i-0abc1234def567890 --store etcd://127.0.0.1:2379
  rollcall show i-0ab 10.113.0.23 --agent http://10.113.0.22:51690
  rollcall show i-0abc1234def567890 -o json | jq .health`;

export function showCommand(context: CliContext): Command {
  const command = new Command('show')
    .description('Print nodes: the whole record of each, with presence and age.')
    .argument('<node...>', 'instance id or its start, address, ARN or machine id')
    .addOption(outputOption('name'))
    .addHelpText('after', EXAMPLES);
  for (const option of [...readOptions(), logLevelOption()]) command.addOption(option);
  return command.action(async (names: readonly string[], flags: ShowFlags) => {
    // Before the store is opened: a text that cannot name a node is wrong usage, whatever is on the roll.
    for (const name of names) refuseName(findNode([], name));
    const { roll, label } = await withRoll(context, flags, 'show', async (reader, signal) => ({
      roll: await readNamed(reader, names, signal),
      label: reader.label,
    }));
    const found = names.map((name) => ({ name, ...findNode(roll.entries, name) }));
    for (const each of found) refuseName(each);
    const entries = [...new Set(found.flatMap((each) => (each.kind === 'found' ? [each.entry] : [])))];
    const absent = new Set(found.flatMap(({ kind, name }) => (kind === 'absent' ? [name] : [])));
    warn(context, flags, describeShown(roll, entries, absent.size > 0));
    await context.stdout(renderNodes(flags, names.length > 1, { ...roll, entries }, context.clock.wallMs()));
    if (absent.size > 0) throw new RollcallError(describeAbsent([...absent], roll, label));
  });
}

/** An error is 500 characters at most: what is known of one name must not push out that others were not found. */
const MAX_REASONS = 3;
const MAX_REASON = 120;

/** What is known of each of the nodes that were not found, first what is sure. */
function describeAbsent(names: readonly string[], { skipped }: Roll, label: string): string {
  const named = skipped.filter(({ key }) => key !== ROOT);
  const unread = names.flatMap((name) => describeUnread(named, name) ?? []);
  const rest = names.filter((name) => describeUnread(named, name) === null);
  const more = unread.length - MAX_REASONS;
  const reasons = unread
    .slice(0, MAX_REASONS)
    .map((reason) => (names.length > 1 ? reason.slice(0, MAX_REASON) : reason));
  if (more > 0) reasons.push(`${more} more cannot be read`);
  if (rest.length > 0) {
    const are = rest.length === 1 ? 'is' : 'are';
    const gone = `${rest.join(', ')} ${are} not on the roll at ${label}; rollcall list --all prints all nodes`;
    reasons.push(describeUnread(skipped, rest.join(' or ')) ?? gone);
  }
  return reasons.join('; ');
}

/** What cannot be read of the nodes that are shown; of all where one was not found, as it may be among them. */
function describeShown(roll: Roll, shown: readonly RollEntry[], isLacking: boolean): readonly string[] {
  const isShown = (key: string) => shown.some(({ record }) => key.includes(record.ec2InstanceId));
  const skipped = roll.skipped.filter(({ key }) => isLacking || isShown(key));
  return [...describeSkipped(skipped), ...describeRefused(shown), ...notesOf(roll.notes ?? [], shown)];
}

/** @throws UsageError for a text that names no node, or several */
export function refuseName(found: ReturnType<typeof findNode>): void {
  if (found.kind === 'refused') throw new UsageError(found.refusal);
}

/** What is needed to find the nodes: one alone if its whole id is given, else the whole roll. */
async function readNamed(reader: RollReader, names: readonly string[], signal: AbortSignal): Promise<Roll> {
  const [name = ''] = names;
  if (names.length === 1 && INSTANCE_ID.test(name)) {
    const one = await reader.readOne(name, signal);
    if (isLongId(name) || one.entries.length > 0 || one.skipped.length > 0) return one;
  }
  return reader.read(signal);
}

function renderNodes(flags: ShowFlags, several: boolean, { entries, revision }: Roll, nowMs: number): string {
  // The same formats as in list, so that one ROLLCALL_OUTPUT works for both. `wide` is the same as `text`.
  if (flags.output === 'ndjson') return entries.map((entry) => `${JSON.stringify(instanceJson(entry))}\n`).join('');
  if (flags.output === 'name')
    return renderTable(
      null,
      entries.map(({ record }) => [record.ec2InstanceId]),
    );
  if (flags.output === 'json') {
    const nodes = entries.map(instanceJson);
    const [only] = nodes;
    if (several) return `${JSON.stringify({ containerInstances: nodes, revision }, null, 2)}\n`;
    return only === undefined ? '' : `${JSON.stringify(only, null, 2)}\n`;
  }
  return entries.map((entry) => renderInstance(entry, nowMs)).join('\n');
}
