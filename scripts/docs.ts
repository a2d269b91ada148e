/**
 * Writes the tables of docs/configuration.md from the declarations of the flags, and docs/schema/ from the contract of the
 * HTTP port: npm run docs. What stands outside the two markers is written by hand and stays.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command, Option } from 'commander';
import { buildProgram } from '../src/cli/program.ts';
import { schemaDocument } from '../src/http/contract/answer-schemas.ts';
import { systemClock } from '../src/lib/clock.ts';

const PAGE = fileURLToPath(new URL('../docs/configuration.md', import.meta.url));
const BEGIN = '<!-- made by npm run docs; what is written here by hand is lost -->\n';
const END = '<!-- end of what npm run docs makes -->\n';

/** The whole command line as a user without any variable has it. */
export function allCommands(): readonly Command[] {
  const program = buildProgram(
    {
      env: {},
      version: '',
      clock: systemClock,
      random: Math.random,
      stdout: async () => {},
      stderr: () => {},
      onStopSignal: () => {},
      signal: AbortSignal.abort(),
      residentBytes: () => 0,
      self: [''],
    },
    [],
  );
  return program.commands;
}

/** The tables: first the flags that mean the same in several commands, then each command with its own. */
export function flagTables(commands: readonly Command[]): string {
  const users = new Map<string, string[]>();
  for (const command of commands) {
    for (const option of command.options) users.set(row(option), [...(users.get(row(option)) ?? []), command.name()]);
  }
  const shared = [...users].filter(([, names]) => names.length > 1);
  return [
    table(
      '## Flags of several commands',
      ['flag', 'variable', 'default', 'meaning', 'commands'],
      shared.map(([cells, names]) => `${cells} ${nameCommands(names, commands)} |`),
    ),
    ...commands.map((command) => {
      const own = command.options.map(row).filter((cells) => users.get(cells)?.length === 1);
      const operands = command.registeredArguments.map(
        (operand) => ` ${operand.name().toUpperCase()}${operand.variadic ? '…' : ''}`,
      );
      const heading = `## rollcall ${command.name()}${operands.join('')}\n\n${cell(command.description())}`;
      if (own.length === 0) return `${heading} It has no flags of its own.\n`;
      return table(heading, ['flag', 'variable', 'default', 'meaning'], own);
    }),
  ].join('\n');
}

function nameCommands(names: readonly string[], commands: readonly Command[]): string {
  const others = commands.map((command) => command.name()).filter((name) => !names.includes(name));
  const [shown, prefix] = others.length < 3 ? [others, 'all but '] : [names, ''];
  return `${prefix}${shown.map((name) => `\`${name}\``).join(', ')}`;
}

function table(heading: string, columns: readonly string[], rows: readonly string[]): string {
  return `${[heading, '', `| ${columns.join(' | ')} |`, `|${'---|'.repeat(columns.length)}`, ...rows].join('\n')}\n`;
}

/** One line of a table. Two flags with the same line are the same flag. */
function row(option: Option): string {
  const { flags, envVar, description } = option;
  const limits = rangeOf(option);
  const meaning = `${cell(description)}${limits === null ? '' : ` (${cell(limits)})`}`;
  return `| \`${cell(flags)}\` | \`${envVar ?? ''}\` | ${defaultOf(option)} | ${meaning} |`;
}

function rangeOf({ argChoices, parseArg }: Option): string | null {
  if (argChoices) return `one of ${argChoices.join(', ')}`;
  const range = parseArg && 'range' in parseArg ? parseArg.range : null;
  return typeof range === 'string' ? range : null;
}

function defaultOf(option: Option): string {
  if (option.isBoolean() || option.negate) return 'off';
  const value = option.defaultValueDescription ?? option.defaultValue;
  if (value === undefined) return 'none';
  // A description in words is no value that one could write.
  return cell(/^none$|\s/.test(`${value}`) ? `${value}` : `\`${value}\``);
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** @throws Error for a page without the markers */
export function withTables(page: string, tables: string): string {
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Error(`docs/configuration.md lacks a marker: ${BEGIN.trim()} … ${END.trim()}`);
  return `${before}${BEGIN}\n${tables}\n${END}${after}`;
}

/** The files of docs/schema/ by name. */
export function schemaFiles(): Readonly<Record<string, string>> {
  const json = (name: 'Record' | 'Event') => `${JSON.stringify(schemaDocument(name), null, 2)}\n`;
  return { 'record.json': json('Record'), 'event.json': json('Event') };
}

const SCHEMAS = new URL('../docs/schema/', import.meta.url);

if (import.meta.main) {
  writeFileSync(PAGE, withTables(readFileSync(PAGE, 'utf8'), flagTables(allCommands())));
  for (const [name, text] of Object.entries(schemaFiles())) writeFileSync(new URL(name, SCHEMAS), text);
}
