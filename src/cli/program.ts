import { Command, CommanderError } from 'commander';
import { groupFlags } from '../config/flag-groups.ts';
import { refuseFlagsWithoutEffect } from '../config/flags-without-effect.ts';
import { chooseSource } from '../config/store-flags.ts';
import { describeError, quote, RollcallError, UsageError } from '../lib/errors.ts';
import { StoreUrlError } from '../store/store-url.ts';
import { agentCommand } from './agent.ts';
import { failurePrefix } from './agent-log.ts';
import { auditCommand } from './audit.ts';
import { completionCommand } from './completion.ts';
import type { CliContext } from './context.ts';
import { dnsCommand } from './dns/dns-command.ts';
import { drainCommand, undrainCommand } from './drain.ts';
import { statusCommand } from './fleet-screen.ts';
import { healthCommand } from './health.ts';
import { commandHint, flagHint } from './hints.ts';
import { listCommand } from './list.ts';
import { placeCommand } from './place.ts';
import { showCommand } from './show.ts';
import { simulateCommand } from './simulate.ts';
import { waitCommand } from './wait.ts';
import { watchCommand } from './watch/watch-command.ts';

const HELP = `
Every flag has a variable (in brackets); a flag takes precedence over it.

Examples:
  rollcall simulate --nodes 3
  rollcall agent --store etcd://127.0.0.1:2379
  rollcall list --store etcd://127.0.0.1:2379
  rollcall watch --store etcd://127.0.0.1:2379
  rollcall list --help`;

/**
 * Runs one command line. Returns its exit status: 0 done, 2 usage, 3 superseded, 1 any other failure. A failure is one
 * line on stderr.
 */
export async function runProgram(given: readonly string[], context: CliContext): Promise<number> {
  // `-o=json`, as kubectl takes it, and `-l=role=web`: no value of either flag begins with the sign.
  const args = given.map((arg) => arg.replace(/^-([ol])=/, '-$1'));
  // `help NAME` of a name that is no command is as wrong as the name itself; commander would print the general help.
  const [asked = '', about = ''] = args;
  if (asked === 'help' && about !== '' && !Object.hasOwn(COMMANDS, about)) return runProgram([about], context);
  const program = buildProgram(context, args);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return commanderStatus(error, program, args, context);
    const source = error instanceof StoreUrlError ? storeSource(program, args) : '';
    context.stderr(`${failurePrefix(args, context.env)}${commandName(args)}: ${source}${describeError(error)}`);
    return error instanceof RollcallError ? error.exitCode : 1;
  }
}

function storeSource(program: Command, [name]: readonly string[]): string {
  const source = program.commands.find((each) => each.name() === name)?.getOptionValueSource('store');
  return source === 'env' ? 'ROLLCALL_STORE: ' : '--store: ';
}

const COMMANDS = {
  // Without the environment: a switch that it has set off loses its variable.
  agent: (context: CliContext) => agentCommand(context, () => buildProgram({ ...context, env: {} }, []).commands),
  list: listCommand,
  status: statusCommand,
  show: showCommand,
  wait: waitCommand,
  watch: watchCommand,
  dns: dnsCommand,
  audit: auditCommand,
  place: placeCommand,
  drain: drainCommand,
  undrain: undrainCommand,
  health: healthCommand,
  simulate: simulateCommand,
  completion: (context: CliContext) => completionCommand(context, () => buildProgram(context, []).commands),
};

/**
 * Only the command that is asked for is made: all of them have 150 options, which takes as long as reading a small roll.
 * @param args the command line; one that names no command gets all of them
 */
export function buildProgram(context: CliContext, args: readonly string[]): Command {
  const program = new Command('rollcall')
    .description('Keeps a roll of the ECS nodes: which are present, at which address, and how healthy.')
    .version(context.version, '-V, --version', 'print the version')
    .addHelpText('after', HELP);
  const asked = Object.entries(COMMANDS).filter(([name]) => name === args[0]);
  const commands = (asked.length > 0 ? asked : Object.entries(COMMANDS)).map(([, make]) => make(context));
  for (const command of commands) program.addCommand(command);
  const width = helpWidth(context);
  for (const command of [program, ...commands]) {
    // Commander prints errors in more than one line, so commanderStatus prints them instead.
    command
      .exitOverride()
      .configureOutput({ outputError: () => {}, getOutHelpWidth: () => width, getErrHelpWidth: () => width });
    command.configureHelp({ minWidthToWrap: MIN_TEXT_WIDTH });
    command.helpOption('-h, --help', 'print this help');
    command.allowExcessArguments(false);
    resolveSwitchVariables(command, context);
    chooseSource(command);
    refuseFlagsWithoutEffect(command);
    groupFlags(command);
  }
  return program;
}

/** Beside the flags, in columns; with less room a text of the help is not wrapped. */
const MIN_TEXT_WIDTH = 16;

/** The terminal's, in columns; wider lines than 100 are hard to read. COLUMNS outranks it, as in other programs. */
function helpWidth({ env, columns }: CliContext): number {
  const asked = /^[1-9]\d{0,4}$/.test(env['COLUMNS'] ?? '') ? Number(env['COLUMNS']) : columns;
  return Math.min(Math.max(asked || 80, 40), 100);
}

/** Commander switches a flag on for any value of its variable. Makes `ROLLCALL_ALL=false` switch it off. */
function resolveSwitchVariables(command: Command, context: CliContext): void {
  for (const option of command.options.filter((each) => (each.isBoolean() || each.negate) && each.envVar)) {
    const name = option.envVar ?? '';
    const text = context.env[name]?.toLowerCase();
    if (text === undefined || ['true', 'yes', '1', 'on'].includes(text)) continue;
    delete option.envVar;
    if (['false', 'no', '0', 'off'].includes(text)) continue;
    // Any other value is refused, because a guess could switch something on by mistake.
    command.hook('preAction', () => {
      if (command.getOptionValueSource(option.attributeName()) === 'cli') return;
      throw new UsageError(`${name} is ${quote(text)}; set it to true or false`);
    });
  }
}

function commanderStatus(
  error: CommanderError,
  program: Command,
  args: readonly string[],
  context: CliContext,
): number {
  if (error.code === 'commander.helpDisplayed' || error.code === 'commander.version') return 0;
  // Without a command, commander has printed the help to stderr.
  if (error.code === 'commander.help') return args[0] === 'help' ? 0 : 2;
  const text = error.message
    .replace(/^error: /, '')
    .replace(/\s+/g, ' ')
    .replace(/\.$/, '');
  const name = commandName(args);
  context.stderr(
    `${failurePrefix(args, context.env)}${name}: ${withoutPassword(withHint(error, text, program, args))}; see ${name} --help`,
  );
  return 2;
}

/** Of an address that was typed with one. */
function withoutPassword(text: string): string {
  return text.replace(/(\/\/|'(?=[^\s'"/@]*:))[^\s'"/]*@/g, '$1…@');
}

/** The text of a wrong word or flag, with what the user may have meant. */
function withHint(error: CommanderError, text: string, program: Command, [asked = '']: readonly string[]): string {
  const command = program.commands.find((each) => each.name() === asked);
  const [, given = ''] = /^unknown (?:command|option) '([^']*)'/.exec(text) ?? [];
  if (error.code === 'commander.excessArguments' && command) {
    const [surplus = ''] = command.args.slice(command.registeredArguments.length);
    const next = asked === 'list' ? '; rollcall show prints nodes by name' : '';
    return `unexpected argument ${quote(surplus)}${next}`;
  }
  const hint =
    error.code === 'commander.unknownCommand'
      ? commandHint(given)
      : error.code === 'commander.unknownOption' && command
        ? flagHint(command, given.replace(/=.*$/, ''))
        : null;
  return hint === null ? text : `${text.replace(/ \(Did you mean .*\)$/, '')} (${hint} does that)`;
}

function commandName(args: readonly string[]): string {
  const [command = ''] = args;
  return Object.hasOwn(COMMANDS, command) ? `rollcall ${command}` : 'rollcall';
}
