import { InvalidArgumentError, Option } from 'commander';
import { FilterError, type FilterName, type FilterTexts, parseFilter } from '../record/filter.ts';
import { HEALTH_STATUSES } from '../record/record.ts';
import { PRESENCE_STATES } from '../record/roll.ts';
import { repeatable } from './flags-without-effect.ts';

/** The values of the flags below, which `parseFilter` takes. */
export type FilterFlags = FilterTexts;

/** The flags that select nodes of the roll; each takes several values, comma-separated or by repeating the flag. */
export function filterOptions(): Option[] {
  return [
    filterOption('cluster', '--cluster <names>', 'only nodes of these ECS clusters, by name or ARN'),
    filterOption('health', '--health <statuses>', `only nodes with this health: ${HEALTH_STATUSES.join(', ')}`),
    filterOption('az', '--az <names>', 'only nodes in these availability zones'),
    filterOption(
      'presence',
      '--presence <states>',
      `only nodes with this presence: ${PRESENCE_STATES.join(', ')}, all`,
    ),
    filterOption(
      'selector',
      '-l, --selector <terms>',
      'only nodes with these labels: key=value, key!=value, key, !key',
    ),
  ];
}

function filterOption(name: FilterName, flags: string, text: string): Option {
  const parse = (value: string, previous: readonly string[] = []): readonly string[] => {
    try {
      parseFilter({ [name]: [value] });
    } catch (error) {
      if (error instanceof FilterError) throw new InvalidArgumentError(`${error.message}.`);
      throw error;
    }
    return [...new Set([...previous, ...value.split(',').map((each) => each.trim())])];
  };
  return repeatable(
    new Option(flags, `${text}; repeatable, or comma-separated`).env(`ROLLCALL_${name.toUpperCase()}`).argParser(parse),
  );
}
