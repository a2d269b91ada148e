import type { Command } from 'commander';

/** What kubectl, docker, Nomad, Consul, fleetctl and the aws CLI call it, by what it is here. */
const COMMAND_WORDS: Readonly<Record<string, readonly string[]>> = {
  'rollcall list': ['get', 'ps', 'node', 'nodes', 'members', 'list-machines', 'list-container-instances'],
  'rollcall show': ['describe', 'inspect', 'info', 'describe-container-instances'],
  'rollcall watch': ['events', 'monitor', 'tail', 'logs'],
  'rollcall status': ['top', 'summary', 'cluster-info'],
  'rollcall drain': ['cordon'],
  'rollcall undrain': ['uncordon'],
  'rollcall agent': ['run', 'serve', 'daemon', 'start'],
  'rollcall --version': ['version'],
};

export const FLAG_WORDS: Readonly<Record<string, readonly string[]>> = {
  '--all': ['-a', '-A', '--all-namespaces'],
  '--watch': ['-w'],
  '--no-legend': ['--no-headers', '--no-header', '--noheaders'],
  '-o name': ['-q', '--quiet', '--ids'],
  '-o json': ['--json', '-j'],
  '-o wide': ['--wide', '--no-trunc', '--verbose', '--show-labels'],
  '--fields': ['--columns', '--custom-columns'],
  '--cluster': ['-n', '--namespace', '-c'],
  '-l': ['--label', '--labels', '--filter', '--node-class'],
  '--health': ['--status', '--passing'],
  '--presence': ['--state'],
  '--agent': ['--server', '--http-addr', '--address', '-s', '--url', '--endpoint'],
  '--store': ['--endpoints', '--etcd', '--etcd-endpoints'],
};

/** @returns the command of ours that does what `word` does elsewhere; null: none is known */
export function commandHint(word: string): string | null {
  return oursFor(COMMAND_WORDS, word);
}

/** @param flag as it was given, without a value @returns a flag of `command`; null: none is known */
export function flagHint(command: Command, flag: string): string | null {
  const hint = oursFor(FLAG_WORDS, flag);
  const [name = '', choice] = hint?.split(' ') ?? [];
  const has = command.options.find(({ short, long }) => short === name || long === name);
  if (!has) return null;
  return choice === undefined || !has.argChoices || has.argChoices.includes(choice) ? hint : null;
}

function oursFor(words: Readonly<Record<string, readonly string[]>>, word: string): string | null {
  return Object.keys(words).find((each) => words[each]?.includes(word)) ?? null;
}
