import { InvalidArgumentError } from 'commander';
import { findProgram } from '../lifecycle/find-program.ts';
import { printable } from '../printable.ts';
import type { ExecCheckConfig, HttpCheckConfig } from './check-config.ts';
import { parseCommand } from './parse-command.ts';
import { splitUnquoted } from './split-unquoted.ts';

/** Of all kinds together: each is in the record, and each look costs the node something. */
export const MAX_OPERATOR_CHECKS = 16;

/** Checks that the agent has or may have of its own. */
const OWN_NAMES = ['metadata', 'ecs-agent', 'docker', 'store', 'disk'];

/** `NAME=URL`, several of them apart by `;` or by repeating the flag. A `;` within a URL is written %3B. */
export function httpChecks(text: string, previous: readonly HttpCheckConfig[] = []): readonly HttpCheckConfig[] {
  return addChecks(previous, text.split(';'), (name, value) => ({ name, url: httpUrl(value) }));
}

/**
 * `NAME=COMMAND`, several of them apart by `;` outside quotes, or by repeating the flag. The program must exist: a check
 * that can never pass is a mistake to be told at once, not a sick fleet.
 */
export function execChecks(pathVariable: string | undefined) {
  return (text: string, previous: readonly ExecCheckConfig[] = []): readonly ExecCheckConfig[] =>
    addChecks(previous, splitUnquoted(text, ';'), (name, value) => {
      const argv = parseCommand(value);
      if (findProgram(argv[0], pathVariable) === null) {
        const where = argv[0].includes('/') ? 'is no executable file' : 'is no program on PATH';
        throw new InvalidArgumentError(`"${printable(argv[0]).slice(0, 200)}" ${where}.`);
      }
      return { name, argv };
    });
}

function addChecks<Check extends { readonly name: string }>(
  previous: readonly Check[],
  texts: readonly string[],
  make: (name: string, value: string) => Check,
): readonly Check[] {
  const checks = [...previous];
  for (const text of texts.map((each) => each.trim()).filter((each) => each !== '')) {
    const [, name = '', value = ''] = /^([^=\s]*)=(.*)$/s.exec(text) ?? [];
    if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(name)) {
      throw new InvalidArgumentError(
        'Write NAME=…; a name has 1 to 32 of a-z 0-9 and -, and does not begin with a dash.',
      );
    }
    if (OWN_NAMES.includes(name)) {
      throw new InvalidArgumentError(`"${name}" is a check of rollcall’s own: choose another name.`);
    }
    if (checks.some((check) => check.name === name)) {
      throw new InvalidArgumentError(`Two checks have the name "${name}".`);
    }
    checks.push(make(name, value.trim()));
  }
  if (checks.length === previous.length) throw new InvalidArgumentError('Write NAME=….');
  return checks;
}

function httpUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError('Write a URL such as http://127.0.0.1:8080/health.');
  }
  // It would be in every process list.
  if (url.username || url.password) throw new InvalidArgumentError('A URL with a user or password is not allowed.');
  return url.href;
}
