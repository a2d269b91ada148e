import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commandHint, FLAG_WORDS, flagHint } from '../../src/cli/hints.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { runInProcess, testContext } from '../support/run-in-process.ts';

const program = buildProgram(testContext({ stdout: '', stderr: '' }), []);

const typed: readonly [readonly string[], string][] = [
  [['get', 'nodes'], "rollcall: unknown command 'get' (rollcall list does that); see rollcall --help"],
  [['describe', 'i-1'], "rollcall: unknown command 'describe' (rollcall show does that); see rollcall --help"],
  [['version'], "rollcall: unknown command 'version' (rollcall --version does that); see rollcall --help"],
  [['help', 'nosuch'], "rollcall: unknown command 'nosuch'; see rollcall --help"],
  [['help', 'lst'], "rollcall: unknown command 'lst' (Did you mean list?); see rollcall --help"],
  [['ls'], "rollcall: unknown command 'ls' (Did you mean list?); see rollcall --help"],
  [['list', '-A'], "rollcall list: unknown option '-A' (--all does that); see rollcall list --help"],
  [
    ['list', '--no-headers'],
    "rollcall list: unknown option '--no-headers' (--no-legend does that); see rollcall list --help",
  ],
  [['list', '--json=x'], "rollcall list: unknown option '--json=x' (-o json does that); see rollcall list --help"],
  [
    ['list', '--clustr'],
    "rollcall list: unknown option '--clustr' (Did you mean --cluster?); see rollcall list --help",
  ],
  [
    ['list', 'i-1', 'i-2'],
    'rollcall list: unexpected argument "i-1"; rollcall show prints nodes by name; see rollcall list --help',
  ],
  [['wait', '3'], 'rollcall wait: unexpected argument "3"; see rollcall wait --help'],
  [['health', '\u001b[31m'], 'rollcall health: unexpected argument "?[31m"; see rollcall health --help'],
  [['list', '--all', '--presence', 'lost'], 'rollcall list: --presence has no effect with --all; leave it out'],
];
for (const [args, expected] of typed) {
  test(`rollcall ${args.join(' ').replaceAll('\u001b', 'ESC')}`, async () => {
    assert.deepEqual(await runInProcess(args), { code: 2, stdout: '', stderr: `${expected}\n` });
  });
}

test('each hint names a command or a flag that there is, and is no name of ours itself', () => {
  for (const command of program.commands) assert.equal(commandHint(command.name()), null);
  for (const word of ['ps', 'inspect', 'events', 'cordon', 'uncordon', 'top', 'run']) {
    const [, name = ''] = commandHint(word)?.split(' ') ?? [];
    assert.ok(
      program.commands.some((command) => command.name() === name),
      word,
    );
  }
  for (const [hint, words] of Object.entries(FLAG_WORDS)) {
    const hinted = program.commands.filter((command) => words.every((word) => flagHint(command, word) === hint));
    assert.ok(hinted.length > 0, hint);
    const names = program.commands.flatMap(({ options }) => options.flatMap(({ short, long }) => [short, long]));
    assert.deepEqual(
      words.filter((word) => names.includes(word) && hinted.some((c) => c.options.some(({ long }) => long === word))),
      [],
    );
  }
  const health = program.commands.find((command) => command.name() === 'health');
  assert.ok(health);
  assert.equal(flagHint(health, '--no-headers'), null);
});

test('a user and password in an address are refused, and not printed', async () => {
  const url = 'https://ops:hunter2@10.0.0.1:51690';
  for (const args of [['list', '--agent', url], ['watch', '--http', url, '--types', 'lost'], ['status']]) {
    const { code, stderr } = await runInProcess(args, { env: args.length === 1 ? { ROLLCALL_AGENT: url } : {} });
    assert.equal(code, 2);
    assert.match(stderr, /https:\/\/…@10\.0\.0\.1:51690' .*without a (user|path, a user or a password)/);
    assert.doesNotMatch(stderr, /ops|hunter2/);
  }
  const bare = await runInProcess(['list', '--agent', 'ops:hunter2@10.0.0.1:51690']);
  assert.doesNotMatch(bare.stderr, /ops|hunter2/);
  assert.equal((await runInProcess(['list', '--agent', 'http://:hunter2@10.0.0.1:51690'])).code, 2);
});
