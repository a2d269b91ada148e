import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { allCommands } from '../../scripts/docs.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { SCRIPT } from '../support/rollcall-process.ts';
import { runInProcess, testContext } from '../support/run-in-process.ts';

const tooLong = (text: string, width: number) => text.split('\n').filter((line) => [...line].length > width);

/** @param name of a command; undefined: the program */
function help(name: string | undefined, env: Record<string, string>): string {
  const program = buildProgram(testContext({ stdout: '', stderr: '' }, env), name === undefined ? [] : [name]);
  const command = name === undefined ? program : program.commands[0];
  let text = '';
  command?.configureOutput({
    writeOut: (part) => {
      text += part;
    },
  });
  command?.outputHelp();
  return text;
}

test('help fits a terminal of 80 columns, and is never wider than 100', () => {
  for (const name of [undefined, ...allCommands().map((command) => command.name())]) {
    // A narrow terminal breaks single words alone.
    for (const env of [{}, { COLUMNS: '80' }, { COLUMNS: '60' }]) {
      const text = help(name, env);
      assert.match(text, /^Usage: rollcall /);
      assert.deepEqual(tooLong(text, 80), [], `${name} with ${JSON.stringify(env)}`);
    }
    const wide = help(name, { COLUMNS: '200' });
    assert.deepEqual(tooLong(wide, 100), [], name);
    assert.ok(name === undefined || tooLong(wide, 80).length > 0, `${name} uses the room`);
  }
});

test('the program prints this help', () => {
  for (const env of [{}, { COLUMNS: '200' }]) {
    const options = { encoding: 'utf8', env: { PATH: process.env['PATH'], ...env } } as const;
    assert.equal(execFileSync(SCRIPT, ['list', '--help'], options), help('list', env));
    assert.equal(execFileSync(SCRIPT, ['--help'], options), help(undefined, env));
  }
});

test('the line with the failure that ends an agent has its priority on the journal; that of another command has none', async () => {
  const said = async (args: readonly string[], env: Record<string, string>) =>
    (await runInProcess(args, { env })).stderr;
  const on = { ROLLCALL_JOURNAL: 'on' };
  // Before the flags are parsed, while they are, and after it.
  assert.match(await said(['agent', '--nonsense'], on), /^<3>rollcall agent: unknown option/);
  assert.match(await said(['agent', '--check-fall', '0'], on), /^<3>rollcall agent: /);
  assert.match(await said(['agent', '--store', 'zookeeper://h'], on), /^<3>rollcall agent: .*zookeeper/);
  assert.match(await said(['agent', '--journal=on', '--store', 'x://h'], {}), /^<3>rollcall agent: /);
  assert.match(await said(['agent', '--journal', 'off', '--store', 'x://h'], on), /^rollcall agent: /);
  assert.match(await said(['agent', '--nonsense'], {}), /^rollcall agent: /);
  assert.match(await said(['list', '--nonsense'], on), /^rollcall list: /);
});
