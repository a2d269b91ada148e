import { Command, Option } from 'commander';
import { ecsOptions } from '../config/ecs-options.ts';
import { isLogged, logLevelOption } from '../config/log-level.ts';
import { type MassLossFlags, massLossLimits, massLossOptions } from '../config/mass-loss-options.ts';
import { nonEmpty } from '../config/parse-option.ts';
import { rollCluster } from '../config/roll-cluster.ts';
import { storeOptions } from '../config/store-options.ts';
import { instanceJson } from '../record/instance-json.ts';
import { HEALTH_STATUSES, type HealthStatus } from '../record/record.ts';
import type { Roll, RollEntry } from '../record/roll.ts';
import { filterRoll } from '../registry/filter-roll.ts';
import type { CliContext } from './cli-context.ts';
import { ECS_LIST_FIELD_NAMES } from './ecs-list-fields.ts';
import { defaultFields, LIST_FIELD_NAMES, LIST_FIELDS, type ListFieldName } from './list-fields.ts';
import { checkSource, fieldNames, type SourceFlags, sourceOptions } from './list-source.ts';
import { massLossNote } from './mass-loss-note.ts';
import { type ReadFlags, readFromStore, warnOfSkipped } from './read-from-store.ts';
import { renderTable } from './render-table.ts';
import { sortByAddress } from './sort-by-address.ts';

type Format = 'text' | 'wide' | 'json' | 'ndjson';

interface ListFlags extends ReadFlags, MassLossFlags, SourceFlags {
  readonly all: boolean;
  readonly cluster?: string;
  readonly health?: HealthStatus;
  readonly output: Format;
  readonly fields?: readonly string[];
  readonly legend: boolean;
}

const EXAMPLES = `
Examples:
  rollcall list --store etcd://127.0.0.1:2379
  rollcall list --all -o wide
  rollcall list --cluster demo --health critical
  rollcall list --fields=ip,instance,arn --no-legend
  rollcall list --source ecs --cluster demo
  rollcall list -o json | jq -r '.containerInstances[] | .ec2InstanceId + " " + .containerInstanceArn'`;

export function listCommand(context: CliContext): Command {
  const command = new Command('list')
    .description(
      'Print the roll: the nodes that are present, sorted by address. Or, with --source ecs, what the ECS API has of them.',
    )
    .addOption(
      new Option('--all', 'also nodes that departed or were lost, with their state').env('ROLLCALL_ALL').default(false),
    )
    .addOption(
      new Option('--cluster <name>', 'only nodes of this ECS cluster; with --source ecs also an ARN')
        .env('ROLLCALL_CLUSTER')
        .argParser(nonEmpty),
    )
    .addOption(
      new Option('--health <status>', 'only nodes of this health').env('ROLLCALL_HEALTH').choices([...HEALTH_STATUSES]),
    )
    .addOption(
      new Option('-o, --output <format>', 'how to print it')
        .env('ROLLCALL_OUTPUT')
        .default('text')
        .choices(['text', 'wide', 'json', 'ndjson']),
    )
    .addOption(
      new Option(
        '--fields <names>',
        `columns of text and wide: ${LIST_FIELD_NAMES.join(', ')}; of ECS: ${ECS_LIST_FIELD_NAMES.join(', ')}`,
      )
        .env('ROLLCALL_FIELDS')
        .argParser(fieldNames),
    )
    .addOption(new Option('--no-legend', 'leave out the header line').env('ROLLCALL_NO_LEGEND'))
    .addHelpText('after', EXAMPLES);
  const options = [
    ...sourceOptions(),
    ...ecsOptions(),
    ...massLossOptions('note'),
    ...storeOptions(),
    logLevelOption(),
  ];
  for (const option of options) command.addOption(option);
  return command.action(async (flags: ListFlags) => {
    checkSource(command, flags, flags.fields);
    if (flags.source === 'ecs') {
      const { listFromEcs } = await import('./list-from-ecs.ts');
      return listFromEcs(context, flags, command);
    }
    const cluster = rollCluster(flags.cluster);
    const roll = await readFromStore(context, flags, 'list', (store, signal) => store.read(signal, { hurry: true }));
    warnOfSkipped(context, flags, roll.skipped);
    const asked = filterRoll(sortByAddress(roll.entries), { cluster, health: null, presence: null, az: null });
    const entries = filterRoll(asked, {
      cluster: null,
      health: flags.health === undefined ? null : new Set([flags.health]),
      presence: flags.all ? null : new Set(['present']),
      az: null,
    });
    await context.stdout(render(flags, roll, entries));
    if (entries.length === 0) context.stderr(emptyHint(flags, roll));
    const note = massLossNote(asked, massLossLimits(flags), flags.all);
    if (note !== null && isLogged(flags.logLevel, 'warn')) context.stderr(note);
  });
}

function render(flags: ListFlags, roll: Roll, entries: readonly RollEntry[]): string {
  if (flags.output === 'json') {
    return `${JSON.stringify({ containerInstances: entries.map(instanceJson), revision: roll.revision }, null, 2)}\n`;
  }
  if (flags.output === 'ndjson') return entries.map((entry) => `${JSON.stringify(instanceJson(entry))}\n`).join('');
  const names = (flags.fields as readonly ListFieldName[] | undefined) ?? defaultFields(flags.output, flags.all);
  const fields = names.map((name) => LIST_FIELDS[name]);
  const legend = flags.legend ? fields.map((field) => field.header) : null;
  return renderTable(
    legend,
    entries.map((entry) => fields.map((field) => field.value(entry))),
  );
}

/** An empty answer is right or a mistake; only the reader can tell, so say what was looked at. */
function emptyHint(flags: ListFlags, roll: Roll): string {
  if (roll.entries.length === 0 && roll.skipped.length > 0) return 'no record on the roll can be read';
  if (roll.entries.length === 0)
    return `no node has ever answered at this store, or all were forgotten (revision ${roll.revision})`;
  const others = flags.all ? '' : '; --all shows those that departed or were lost';
  return `none of the ${roll.entries.length} nodes on the roll matches${others}`;
}
