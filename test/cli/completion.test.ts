import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { allCommands } from '../../scripts/docs.ts';
import { completeWords } from '../../src/cli/completion.ts';
import { keepNames, readNames } from '../../src/cli/known-names.ts';
import type { Terminal } from '../../src/cli/terminal.ts';
import { runInProcess, testContext } from '../support/run-in-process.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const COMMANDS = allCommands();
const NAMES = {
  instances: ['i-0abc0001', 'i-0abc0002', 'i-0def0001'],
  clusters: ['demo', 'demo-2', 'prod'],
  zones: ['us-east-1a', 'us-east-1b'],
};
const complete = (line: string) => completeWords(line.split(' '), COMMANDS, NAMES);

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'rollcall-completion-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

describe('what is completed', () => {
  test('commands, and the flags of a command', () => {
    assert.deepEqual(complete('st'), ['status']);
    assert.ok(complete('').includes('list') && complete('').includes('help'));
    assert.deepEqual(complete('help wa'), ['wait', 'watch']);
    assert.deepEqual(complete('list --sor'), ['--sort-by']);
    assert.deepEqual(complete('nope --x'), []);
    assert.deepEqual(complete('--'), ['--help', '--version']);
    assert.deepEqual(complete('list --hel'), ['--help']);
    assert.deepEqual(complete('completion '), ['bash', 'zsh', 'fish']);
    assert.deepEqual(complete('completion bash '), []);
  });

  test('values of flags: those of a fixed list, and names of the last answer; the last of a list', () => {
    assert.deepEqual(complete('list --health '), ['passing', 'warning', 'critical']);
    assert.deepEqual(complete('list --cluster de'), ['demo', 'demo-2']);
    assert.deepEqual(complete('list --cluster prod,demo-'), ['prod,demo-2']);
    assert.deepEqual(complete('list --cluster=prod,demo-'), ['--cluster=prod,demo-2']);
    assert.deepEqual(complete('list --cluster = p'), ['prod'], 'as bash splits --cluster=p');
    assert.deepEqual(complete('list --cluster ='), NAMES.clusters, 'as bash splits --cluster=');
    assert.deepEqual(complete('watch --types lost,dep'), ['lost,departed']);
    assert.deepEqual(complete('list --sort-by health,a'), [
      'health,arn',
      'health,az',
      'health,account',
      'health,agent',
    ]);
    assert.deepEqual(complete('list -o n'), ['ndjson', 'name']);
    assert.deepEqual(complete('wait --az us-east-1'), NAMES.zones);
    assert.deepEqual(complete('agent --etcd-ca-file /e'), [], 'files are the shell’s');
  });

  test('instance ids where a node is named', () => {
    assert.deepEqual(complete('show i-0a'), ['i-0abc0001', 'i-0abc0002']);
    assert.deepEqual(complete('show i-0abc0001 i-0d'), ['i-0def0001']);
    assert.deepEqual(complete('list i-0a'), []);
  });
});

describe('the names of the last answer', () => {
  const entry = (n: number, cluster: string | null) => ({
    record: sampleRecord({ ec2InstanceId: sampleInstanceId(n), cluster }),
    presence: null,
  });
  const context = (env: Record<string, string>, isTerminal = true) => ({
    ...testContext({ stdout: '', stderr: '' }, env),
    terminal: isTerminal ? ({} as Terminal) : undefined,
  });

  test('they are kept for this user alone, and only on a terminal', async (t) => {
    const cache = await folder(t);
    const env = { XDG_CACHE_HOME: cache };
    keepNames(context(env, false), [entry(1, 'demo')]);
    assert.deepEqual(await readdir(cache), []);
    keepNames(context(env), [entry(2, 'demo'), entry(1, null), entry(1, 'demo')]);
    const names = { instances: [sampleInstanceId(1), sampleInstanceId(2)], clusters: ['demo'], zones: ['us-east-1a'] };
    assert.deepEqual(readNames(env), names);
    assert.deepEqual(readNames({ HOME: cache, XDG_CACHE_HOME: 'relative' }).instances, []);
    assert.equal((await lstat(join(cache, 'rollcall/names.json'))).mode & 0o777, 0o600);
    assert.equal((await lstat(join(cache, 'rollcall'))).mode & 0o777, 0o700);
    assert.deepEqual(await readdir(join(cache, 'rollcall')), ['names.json']);
  });

  test('names that a shell could mistake are neither kept nor read, and their number is bounded', async (t) => {
    const cache = await folder(t);
    const env = { XDG_CACHE_HOME: cache };
    keepNames(context(env), [entry(1, '$(reboot)'), ...Array.from({ length: 6_000 }, (_, n) => entry(n, `c${n}`))]);
    assert.equal(readNames(env).instances.length, 5_000);
    assert.equal(readNames(env).clusters.length, 500);
    const path = join(cache, 'rollcall/names.json');
    for (const text of [
      JSON.stringify({
        instances: ['i-0abc0001', '`x`', 7, '--help', 'i-0abc0001\n'],
        clusters: ['a b', 'ok'],
        zones: null,
      }),
      'junk',
      '[]',
      'x'.repeat(600_000),
    ]) {
      await writeFile(path, text);
      const { instances, clusters } = readNames(env);
      assert.deepEqual([instances, clusters], text.startsWith('{') ? [['i-0abc0001'], ['ok']] : [[], []]);
    }
  });

  test('a link in its place is replaced, not followed; a folder that cannot be written is no failure', async (t) => {
    const cache = await folder(t);
    const victim = join(cache, 'victim');
    await writeFile(victim, 'precious');
    await mkdir(join(cache, 'rollcall'));
    await symlink(victim, join(cache, 'rollcall/names.json'));
    keepNames(context({ XDG_CACHE_HOME: cache }), [entry(1, 'demo')]);
    assert.equal(await readFile(victim, 'utf8'), 'precious');
    keepNames(context({ XDG_CACHE_HOME: '/dev/null' }), [entry(1, 'demo')]);
    keepNames(context({}), [entry(1, 'demo')]);
  });
});

test('bash completes with the script', async (t) => {
  const bin = await folder(t);
  const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
  const program = `#!/bin/sh\nexec ${process.execPath} --disable-warning=ExperimentalWarning ${main} "$@"\n`;
  await writeFile(join(bin, 'rollcall'), program);
  await chmod(join(bin, 'rollcall'), 0o755);
  const { stdout: script } = await runInProcess(['completion', 'bash']);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is bash's
  const line = 'COMP_WORDS=(rollcall list --health = cri); COMP_CWORD=4; _rollcall; echo "${COMPREPLY[@]}"';
  const env = { PATH: `${bin}:${process.env['PATH']}`, HOME: bin };
  assert.equal(execFileSync('bash', ['-c', `${script}${line}`], { env, encoding: 'utf8' }), 'critical\n');
});

test('another shell is wrong usage; each script names the program', async () => {
  const { code, stderr } = await runInProcess(['completion', 'csh']);
  assert.equal(code, 2);
  assert.match(stderr, /'csh' is invalid.*Allowed choices are bash, zsh, fish, candidates/);
  for (const shell of ['bash', 'zsh', 'fish'])
    assert.match((await runInProcess(['completion', shell])).stdout, /rollcall completion candidates -- /);
});
