import { Command, Option } from 'commander';
import { type EcsFlags, ecsOptions } from '../config/ecs-flags.ts';
import { type FilterFlags, filterOptions } from '../config/filter-flags.ts';
import { isLogged, type ListFormat, logLevelOption, outputOption } from '../config/flags.ts';
import { repeatable } from '../config/flags-without-effect.ts';
import { type MassLossFlags, massLossLimits, massLossOptions } from '../config/mass-loss-flags.ts';
import { readOptions } from '../config/store-flags.ts';
import { quote, UsageError } from '../lib/errors.ts';
import { describeUnmatched, filterRoll, parseFilter, type RollFilter } from '../record/filter.ts';
import { describeClocks, describeRefused, describeSkipped } from '../record/flaws.ts';
import { instanceJson, type Roll, type RollEntry } from '../record/roll.ts';
import type { NodeSummary } from '../record/summary.ts';
import { massLossNote } from '../registry/mass-loss.ts';
import { defaultFields, LIST_FIELD_NAMES, LIST_FIELDS, type ListFieldName, summaryFields } from './columns.ts';
import { type CliContext, type ReadFlags, warn } from './context.ts';
import { keepNames } from './known-names.ts';
import { ECS_LIST_FIELD_NAMES, listFromEcs } from './list-ecs.ts';
import { type Picture, watchList } from './list-watch.ts';
import { withRoll } from './roll-reader.ts';
import { sortByAddress } from './sort-by-address.ts';
import { type ListField, listPieces, renderList, sortByFields } from './table.ts';

type Source = 'store' | 'ecs';

interface SourceFlags extends EcsFlags {
  readonly source: Source;
  readonly allClusters: boolean;
}

const FIELD_NAMES: Readonly<Record<Source, readonly string[]>> = { store: LIST_FIELD_NAMES, ecs: ECS_LIST_FIELD_NAMES };
/** These select nodes. If their variables were ignored, the list would be wrong. */
const STORE_CHOICES = ['all', 'health', 'az', 'presence', 'selector'];
const STORE_ONLY = [
  ...[...STORE_CHOICES, 'watch'],
  ...['agent', 'massLossShare', 'massLossCount', 'store', 'etcdCaFile', 'etcdCertFile', 'etcdKeyFile', 'etcdUser'],
  ...['etcdPasswordFile', 'etcdPassword', 'timeout', 'agentTokenFile', 'agentCaFile', 'agentCertFile', 'agentKeyFile'],
];
const ECS_ONLY = ['allClusters', 'region', 'profile'];

function sourceOptions(): Option[] {
  return [
    new Option('--source <name>', 'source of the list: the store, or the ECS API (which has no addresses)')
      .env('ROLLCALL_SOURCE')
      .default('store')
      .choices(['store', 'ecs']),
    new Option('--all-clusters', 'with --source ecs: all clusters of the region')
      .env('ROLLCALL_ALL_CLUSTERS')
      .default(false),
  ];
}

/**
 * Refuses flags that do not apply to the source. Variables may stay set for other commands.
 * @throws UsageError
 */
function checkSource(command: Command, { source, fields, sortBy }: ListFlags): void {
  for (const name of source === 'ecs' ? STORE_ONLY : ECS_ONLY) {
    const from = command.getOptionValueSource(name);
    const matters = from === 'cli' || (from === 'env' && STORE_CHOICES.includes(name) && command.getOptionValue(name));
    if (!matters) continue;
    const option = command.options.find((each) => each.attributeName() === name);
    const given = from === 'cli' ? option?.long : option?.envVar;
    const advice = source === 'ecs' ? 'cannot be used with --source ecs; remove it' : 'needs --source ecs';
    throw new UsageError(`${given} ${advice}`);
  }
  for (const [flag, names] of [
    ['--fields', fields],
    ['--sort-by', sortBy],
  ] as const) {
    const strange = names?.find((name) => !FIELD_NAMES[source].includes(name));
    if (strange === undefined) continue;
    const known = FIELD_NAMES[source].join(', ');
    throw new UsageError(`${flag}: unknown column ${quote(strange)} with --source ${source}; use one of ${known}`);
  }
}

/** Which columns there are depends on the source, which is not known yet when the flag is parsed. */
function columnNames(text: string, previous: readonly string[] = []): readonly string[] {
  return [...new Set([...previous, ...text.split(',').map((name) => name.trim().toLowerCase())])];
}

interface ListFlags extends ReadFlags, MassLossFlags, SourceFlags, FilterFlags {
  readonly all: boolean;
  readonly output: ListFormat;
  readonly fields?: readonly string[];
  readonly sortBy?: readonly string[];
  readonly legend: boolean;
  readonly watch: boolean;
}

const EXAMPLES = `
Examples:
  rollcall list --store etcd://127.0.0.1:2379
  rollcall list --all -o wide --agent http://10.113.0.23:51690
  rollcall list --cluster demo,demo-2 --health critical
  rollcall list -l role=node,rack!=3 --az us-east-1a
  rollcall list --fields=ip,instance,arn --no-legend
  rollcall list -o wide --sort-by health,az --watch
  rollcall list -o name --health critical | xargs rollcall show
  rollcall list --source ecs --cluster demo
  rollcall list -o json | jq -r '.containerInstances[] |
    .ec2InstanceId + " " + .containerInstanceArn'`;

export function listCommand(context: CliContext): Command {
  const command = new Command('list')
    .description(
      'Print the roll: the present nodes, sorted by address; with --source ecs the container instances of the ECS API.',
    )
    .addOption(new Option('--all', 'also departed and lost nodes, with their state').env('ROLLCALL_ALL').default(false))
    .addOption(outputOption('name'))
    .addOption(
      repeatable(
        new Option(
          '--fields <names>',
          `columns of text and wide, comma-separated: ${LIST_FIELD_NAMES.join(', ')}; with --source ecs: ${ECS_LIST_FIELD_NAMES.join(', ')}`,
        )
          .env('ROLLCALL_FIELDS')
          .argParser(columnNames),
      ),
    )
    .addOption(
      repeatable(
        new Option('--sort-by <names>', 'sort by these columns, comma-separated; health: the worst first; default: ip')
          .env('ROLLCALL_SORT_BY')
          .argParser(columnNames),
      ),
    )
    .addOption(new Option('--watch', 'draw the list again after each change').env('ROLLCALL_WATCH').default(false))
    .addOption(new Option('--no-legend', 'no header line').env('ROLLCALL_NO_LEGEND'))
    .addHelpText('after', EXAMPLES);
  const options = [
    ...filterOptions(),
    ...sourceOptions(),
    ...ecsOptions(),
    ...massLossOptions('note'),
    ...readOptions(),
    logLevelOption(),
  ];
  for (const option of options) command.addOption(option);
  return command.action(async (flags: ListFlags) => {
    checkSource(command, flags);
    if (flags.source === 'ecs') return listFromEcs(context, flags, command);
    const filter = parseFilter({ ...flags, presence: flags.all ? ['all'] : (flags.presence ?? ['present']) });
    const given = flags.output === 'name' ? undefined : (flags.fields as readonly ListFieldName[] | undefined);
    const names = given ?? defaultFields(flags.output, hasAbsent(filter));
    const isTable = flags.output === 'text' || flags.output === 'wide' || flags.output === 'name';
    const sortNames = (flags.sortBy ?? []) as readonly ListFieldName[];
    const fewFields = isTable ? summaryFields([...names, ...sortNames]) : null;
    if (flags.watch) {
      return watchList(context, flags, (roll) => drawRoll(flags, filter, roll, toFields(names), toFields(sortNames)));
    }
    // A summary has no labels.
    if (fewFields !== null && filter.selector === null) {
      const roll = await withRoll(context, flags, 'list', (reader, signal) =>
        lastWork(context, reader.readSummaries(signal)),
      );
      const [columns, sorting] = [fewFields.slice(0, names.length), fewFields.slice(names.length)];
      return printRoll(context, flags, filter, roll, columns, sorting, (entry) => entry);
    }
    const roll = await withRoll(context, flags, 'list', (reader, signal) => lastWork(context, reader.read(signal)));
    await printRoll(context, flags, filter, roll, toFields(names), toFields(sortNames), instanceJson);
  });
}

/** @param work which has begun: by then nearly all of Node's modules are loaded */
function lastWork<T>({ endsSoon }: CliContext, work: T): T {
  endsSoon?.();
  return work;
}

const toFields = (names: readonly ListFieldName[]) => names.map((name) => LIST_FIELDS[name]);

async function printRoll<R extends NodeSummary>(
  context: CliContext,
  flags: ListFlags,
  filter: RollFilter,
  roll: Roll<R>,
  fields: readonly ListField<RollEntry<R>>[],
  sorting: readonly ListField<RollEntry<R>>[],
  json: (entry: RollEntry<R>) => unknown,
): Promise<void> {
  warn(context, flags, describeSkipped(roll.skipped));
  warn(context, flags, [...describeRefused(roll.entries), ...(roll.notes ?? [])]);
  keepNames(context, roll.entries);
  // Sorted last: then the nodes are no more in the order in which they lie in memory, and each look takes three times as long.
  const asked = filterRoll(roll.entries, { ...filter, health: null, presence: null });
  const shown = filterRoll(asked, filter);
  warn(context, flags, describeClocks(shown));
  const entries = sortByFields(sortByAddress(shown), sorting);
  for (const piece of listPieces(flags, entries, fields, json, { revision: roll.revision }))
    await context.stdout(piece);
  for (const line of hints(filter, roll, entries.length)) context.stderr(line);
  const note = massLossNote(asked, massLossLimits(flags), hasAbsent(filter));
  if (note !== null && isLogged(flags.logLevel, 'warn')) context.stderr(`note: ${note}`);
}

/** One picture of `--watch`: the list, and what would be on stderr. */
function drawRoll(
  flags: ListFlags,
  filter: RollFilter,
  roll: Roll,
  fields: readonly ListField<RollEntry>[],
  sorting: readonly ListField<RollEntry>[],
): Picture {
  const asked = filterRoll(sortByAddress(roll.entries), { ...filter, health: null, presence: null });
  const entries = sortByFields(filterRoll(asked, filter), sorting);
  const note = massLossNote(asked, massLossLimits(flags), hasAbsent(filter));
  return {
    text: renderList(flags, entries, fields, instanceJson, { revision: roll.revision }),
    notes: [
      ...(isLogged(flags.logLevel, 'warn') ? describeClocks(entries).map((line) => `warning: ${line}`) : []),
      ...hints(filter, roll, entries.length),
      ...(note === null ? [] : [`note: ${note}`]),
    ],
  };
}

/** Whether nodes are listed that are not present. */
function hasAbsent({ presence }: RollFilter): boolean {
  return presence === null || [...presence].some((state) => state !== 'present');
}

/** An empty list may be right or a mistake: says what was read, so that the user can tell. */
function hints(
  filter: RollFilter,
  { entries, skipped, revision }: Roll<NodeSummary>,
  shown: number,
): readonly string[] {
  if (entries.length === 0 && skipped.length > 0) return ['no record on the roll is readable'];
  if (entries.length === 0)
    return [`no node has ever registered in this store, or all were forgotten (revision ${revision})`];
  const unmatched = describeUnmatched(entries, filter);
  if (shown > 0 || unmatched.length > 0) return unmatched;
  const others = hasAbsent(filter) ? '' : '; --all shows departed and lost nodes';
  const none = entries.length === 1 ? 'the one node' : `none of the ${entries.length} nodes`;
  return [`${none} on the roll ${entries.length === 1 ? 'does not match' : 'matches'}${others}`];
}
