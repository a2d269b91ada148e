import { Argument, Command, type Option } from 'commander';
import { EVENT_KINDS } from '../record/events.ts';
import { HEALTH_STATUSES } from '../record/record.ts';
import { PRESENCE_STATES } from '../record/roll.ts';
import { LIST_FIELD_NAMES } from './columns.ts';
import type { CliContext } from './context.ts';
import { type KnownNames, readNames } from './known-names.ts';

const SCRIPTS = {
  bash: `# rollcall completion bash >/etc/bash_completion.d/rollcall, or in ~/.bashrc: source <(rollcall completion bash)
_rollcall() {
  local IFS=$'\\n'
  COMPREPLY=($(rollcall completion candidates -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _rollcall rollcall
`,
  zsh: `#compdef rollcall
# rollcall completion zsh >"\${fpath[1]}/_rollcall"
_rollcall() {
  local -a candidates
  candidates=(\${(f)"$(rollcall completion candidates -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  (( \${#candidates} )) && compadd -- $candidates || _files
}
if [ "$funcstack[1]" = _rollcall ]; then _rollcall "$@"; else compdef _rollcall rollcall; fi
`,
  fish: `# rollcall completion fish >~/.config/fish/completions/rollcall.fish
complete -c rollcall -a '(rollcall completion candidates -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
} as const;

const HELP = `
Commands, flags and their values are completed; instance ids, clusters and zones
are those of the last list on a terminal, kept in
$XDG_CACHE_HOME/rollcall/names.json. "candidates" is what the scripts call.

Examples:
  source <(rollcall completion bash)
  rollcall completion zsh >"\${fpath[1]}/_rollcall"
  rollcall completion fish >~/.config/fish/completions/rollcall.fish`;

/** @param commands makes all commands: only what is completed needs them */
export function completionCommand(context: CliContext, commands: () => readonly Command[]): Command {
  return new Command('completion')
    .description('Print the script with which a shell completes the commands, flags, values and nodes of rollcall.')
    .addArgument(new Argument('<shell>', 'the shell').choices([...Object.keys(SCRIPTS), 'candidates']))
    .argument('[words...]', 'of candidates: the words so far, the last one to be completed')
    .addHelpText('after', HELP)
    .action(async (shell: keyof typeof SCRIPTS | 'candidates', words: readonly string[]) => {
      if (shell !== 'candidates') return context.stdout(SCRIPTS[shell]);
      const found = completeWords(words, commands(), readNames(context.env));
      await context.stdout(found.map((each) => `${each}\n`).join(''));
    });
}

/** What the last word may become; none: whatever the shell itself completes, such as files. Pure. */
export function completeWords(words: readonly string[], commands: readonly Command[], names: KnownNames): string[] {
  const word = words.at(-1) ?? '';
  const [name = ''] = words;
  if (words.length <= 1) {
    const flags = word.startsWith('-') ? ['--help', '--version'] : [];
    return startingWith(word, [...commands.map((command) => command.name()), 'help', ...flags]);
  }
  const command = commands.find((each) => each.name() === name);
  if (command === undefined)
    return name === 'help'
      ? startingWith(
          word,
          commands.map((each) => each.name()),
        )
      : [];
  // bash makes a word of the = in --cluster=demo.
  const before = words.at(-2) === '=' ? words.at(-3) : words.at(-2);
  const asked = word === '=' ? words.at(-2) : before;
  const option = command.options.find((each) => (each.long === asked || each.short === asked) && takesValue(each));
  if (option) return lastOfList(word === '=' ? '' : word, valuesFor(option, names));
  const [flag = '', value] = word.split('=', 2);
  const withValue =
    value === undefined ? undefined : command.options.find((each) => each.long === flag && takesValue(each));
  if (withValue) return lastOfList(value ?? '', valuesFor(withValue, names)).map((each) => `${flag}=${each}`);
  if (word.startsWith('-')) return startingWith(word, [...command.options.flatMap(({ long }) => long ?? []), '--help']);
  const argument = command.registeredArguments[0]?.name();
  if (argument === 'node') return startingWith(word, names.instances);
  return argument === 'shell' && words.length === 2 ? startingWith(word, Object.keys(SCRIPTS)) : [];
}

const takesValue = (option: Option) => option.required || option.optional;

function valuesFor(option: Option, names: KnownNames): readonly string[] {
  const values: Readonly<Record<string, readonly string[]>> = {
    cluster: names.clusters,
    az: names.zones,
    health: HEALTH_STATUSES,
    presence: [...PRESENCE_STATES, 'all'],
    fields: LIST_FIELD_NAMES,
    sortBy: LIST_FIELD_NAMES,
    types: EVENT_KINDS,
  };
  return values[option.attributeName()] ?? option.argChoices ?? [];
}

/** Completes what is behind the last comma. */
function lastOfList(word: string, values: readonly string[]): string[] {
  const at = word.lastIndexOf(',') + 1;
  return startingWith(word.slice(at), values).map((value) => word.slice(0, at) + value);
}

function startingWith(start: string, texts: readonly string[]): string[] {
  return texts.filter((text) => text.startsWith(start));
}
