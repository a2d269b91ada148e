import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { allCommands } from '../../scripts/docs.ts';
import { SCRIPT } from '../support/rollcall-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const tooLong = (text: string, width: number) => text.split('\n').filter((line) => [...line].length > width);
const help = (args: readonly string[], columns?: string) =>
  execFileSync(SCRIPT, args, {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...(columns === undefined ? {} : { COLUMNS: columns }) },
  });

test('help fits a terminal of 80 columns, and is never wider than 100', () => {
  for (const args of [['--help'], ...allCommands().map((command) => [command.name(), '--help'])]) {
    for (const columns of [undefined, '80']) {
      assert.deepEqual(tooLong(help(args, columns), 80), [], `${args.join(' ')} with COLUMNS ${columns}`);
    }
    const wide = help(args, '200');
    assert.deepEqual(tooLong(wide, 100), [], args.join(' '));
    assert.ok(args[0] === '--help' || tooLong(wide, 80).length > 0, `${args.join(' ')} uses the room`);
  }
});

test('so does the help of the scripts', () => {
  const scripts = readdirSync(`${ROOT}/scripts`).filter((name) => {
    const path = `${ROOT}/scripts/${name}`;
    const text = statSync(path).isFile() ? readFileSync(path, 'utf8') : '';
    return name === 'bench' || /^ *-h \| --help\)/m.test(text);
  });
  assert.ok(scripts.length >= 6, scripts.join());
  for (const name of scripts) {
    const text = execFileSync(`${ROOT}/scripts/${name}`, ['--help'], { encoding: 'utf8' });
    assert.match(text, /^Usage: /);
    assert.deepEqual(tooLong(text, 80), [], name);
  }
});
