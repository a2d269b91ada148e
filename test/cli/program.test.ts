import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { allCommands } from '../../scripts/docs.ts';
import { SCRIPT } from '../support/rollcall-process.ts';

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
