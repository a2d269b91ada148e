import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { CLEAN_ENV, rollcall, SCRIPT } from '../support/rollcall-process.ts';

/** A folder with `rollcall` and the script of the shell, as its help says to install it. */
async function installed(t: TestContext, shell: string) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-completion-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, 'rollcall'), `#!/bin/sh\nexec ${SCRIPT} "$@"\n`, { mode: 0o755 });
  const { stdout } = await rollcall(['completion', shell]);
  await writeFile(join(dir, '_rollcall'), stdout);
  const env = {
    ...CLEAN_ENV,
    HOME: dir,
    PATH: `${dir}:${dirname(process.execPath)}:${CLEAN_ENV['PATH']}`,
    TERM: 'dumb',
  };
  const run = (file: string, args: readonly string[]) =>
    new Promise<string>((resolve, reject) => {
      execFile(file, [...args], { env, timeout: 60_000 }, (error, out, err) =>
        error ? reject(new Error(`${error.message}: ${err}`)) : resolve(`${out}${err}`),
      );
    });
  return { dir, run };
}

test('fish completes commands, flags and their values', async (t) => {
  const { dir, run } = await installed(t, 'fish');
  const complete = async (line: string) =>
    (await run('fish', ['--no-config', '-c', `source ${dir}/_rollcall; complete -C '${line}'`])).trim().split('\n');
  assert.deepEqual(await complete('rollcall und'), ['undrain']);
  assert.ok((await complete('rollcall list --hea')).includes('--health'));
  assert.deepEqual(await complete('rollcall list --health cri'), ['critical']);
});

test('bash completes commands, flags and their values', async (t) => {
  const { dir, run } = await installed(t, 'bash');
  const complete = async (...words: readonly string[]) => {
    const script = `source ${dir}/_rollcall; COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _rollcall; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return (await run('bash', ['--norc', '-c', script])).trim().split('\n');
  };
  assert.deepEqual(await complete('rollcall', 'und'), ['undrain']);
  assert.ok((await complete('rollcall', 'list', '--hea')).includes('--health'));
  assert.deepEqual(await complete('rollcall', 'list', '--health', 'cri'), ['critical']);
});

test('zsh completes commands, flags and their values', async (t) => {
  const { dir, run } = await installed(t, 'zsh');
  // Completion itself needs a terminal; what it calls here prints what it gets.
  const stand = 'compdef() { :; }; compadd() { shift $@[(i)--]; print -rl -- $@; }; _files() { print files; }';
  const complete = async (...words: readonly string[]) => {
    const script = `${stand}; source ${dir}/_rollcall; words=(${words.join(' ')}); CURRENT=${words.length}; _rollcall`;
    return (await run('zsh', ['-f', '-c', script])).trim().split('\n');
  };
  assert.deepEqual(await complete('rollcall', 'und'), ['undrain']);
  assert.ok((await complete('rollcall', 'list', '--hea')).includes('--health'));
  assert.deepEqual(await complete('rollcall', 'list', '--health', 'cri'), ['critical']);
  assert.deepEqual(await complete('rollcall', 'list', '--health', "''"), ['passing', 'warning', 'critical']);
  assert.deepEqual(await complete('rollcall', 'agent', '--listen-token-file', '/'), ['files']);
});
