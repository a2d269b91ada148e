import { type Command, InvalidArgumentError, Option } from 'commander';
import type { EcsFlags } from '../config/ecs-options.ts';
import { UsageError } from '../errors.ts';
import { ECS_LIST_FIELD_NAMES } from './ecs-list-fields.ts';
import { LIST_FIELD_NAMES } from './list-fields.ts';

export type Source = 'store' | 'ecs';

export interface SourceFlags extends EcsFlags {
  readonly source: Source;
  readonly allClusters: boolean;
}

const FIELD_NAMES: Readonly<Record<Source, readonly string[]>> = { store: LIST_FIELD_NAMES, ecs: ECS_LIST_FIELD_NAMES };
/** They choose among nodes, so a variable that were left out of account would make the answer untrue. */
const STORE_CHOICES = ['all', 'health'];
const STORE_ONLY = [
  ...STORE_CHOICES,
  ...['massLossShare', 'massLossCount', 'store', 'etcdCaFile', 'etcdCertFile', 'etcdKeyFile', 'etcdUser'],
  ...['etcdPasswordFile', 'etcdPassword'],
];
const ECS_ONLY = ['allClusters', 'region', 'profile'];

export function sourceOptions(): Option[] {
  return [
    new Option('--source <name>', 'whom to ask: the store, or the ECS API (which knows no address)')
      .env('ROLLCALL_SOURCE')
      .default('store')
      .choices(['store', 'ecs']),
    new Option('--all-clusters', 'of ECS: every cluster of the region').env('ROLLCALL_ALL_CLUSTERS').default(false),
  ];
}

/** Names of columns that one of the sources has. Which of them is not known yet when a flag is parsed. */
export function fieldNames(text: string): readonly string[] {
  const all = [...new Set(Object.values(FIELD_NAMES).flat())];
  return text.split(',').map((name) => {
    const known = all.find((field) => field === name.trim().toLowerCase());
    if (!known) throw new InvalidArgumentError(`"${name}" is no column; there are ${all.join(', ')}.`);
    return known;
  });
}

/**
 * The variables of other commands may stay set; a flag that the source knows nothing of is a mistake.
 * @throws UsageError
 */
export function checkSource(command: Command, { source }: SourceFlags, fields: readonly string[] | undefined): void {
  for (const name of source === 'ecs' ? STORE_ONLY : ECS_ONLY) {
    const from = command.getOptionValueSource(name);
    const matters = from === 'cli' || (from === 'env' && STORE_CHOICES.includes(name) && command.getOptionValue(name));
    if (!matters) continue;
    const option = command.options.find((each) => each.attributeName() === name);
    const given = from === 'cli' ? option?.long : option?.envVar;
    const advice =
      source === 'ecs' ? 'the store, which --source ecs does not ask: leave it out' : 'ECS: add --source ecs';
    throw new UsageError(`${given} is for ${advice}`);
  }
  const strange = fields?.find((name) => !FIELD_NAMES[source].includes(name));
  if (strange !== undefined) {
    const names = FIELD_NAMES[source].join(', ');
    throw new UsageError(`--fields: there is no column ${strange} with --source ${source}; there are ${names}`);
  }
}
