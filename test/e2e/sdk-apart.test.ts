import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from '../support/machine-time.ts';
import { CLEAN_ENV, rollcall, rollStates, startFleet } from '../support/rollcall-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NODE = process.execPath;

before(() => rollcall(['--version']));

/** The real bundle in a folder of its own, with `sdk` for AWS's SDK; null: without any. */
async function installed(t: TestContext, sdk: string | null): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-sdk-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await copyFile(join(ROOT, 'dist/rollcall.cjs'), join(dir, 'rollcall.cjs'));
  if (sdk !== null) await writeFile(join(dir, 'ecs-sdk.cjs'), sdk);
  return join(dir, 'rollcall.cjs');
}

function run(
  bundle: string,
  args: readonly string[],
  flags: readonly string[] = [],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      NODE,
      [...flags, bundle, ...args],
      { env: CLEAN_ENV, timeout: 60_000 },
      (_, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

const ECS = ['list', '--source', 'ecs', '--cluster', 'demo', '--region', 'us-east-1'];

test('the program’s bundle does not contain the AWS SDK; the second bundle does', async () => {
  const [program, sdk] = await Promise.all(
    ['rollcall.cjs', 'ecs-sdk.cjs'].map((name) => readFile(join(ROOT, 'dist', name), 'utf8')),
  );
  assert.doesNotMatch(program ?? '', /@aws-sdk|@smithy/);
  assert.match(sdk ?? '', /@smithy/);
});

test('an agent and a list do not load the SDK; a list from ECS does', async (t) => {
  const bundle = await installed(t, `process.stderr.write('LOADED\\n'); throw new Error('a trap');`);
  const fleet = await startFleet(t, 1);
  const store = `sqlite:${join(fleet.dir, 'roll.db')}`;
  const env = { ...CLEAN_ENV, ...(await fleet.environment(1)), ROLLCALL_STORE: store, ROLLCALL_LISTEN: '127.0.0.1:0' };
  const agent = spawn(NODE, [bundle, 'agent'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise((resolve) => agent.once('exit', resolve));
  t.after(() => agent.kill('SIGKILL'));
  let stderr = '';
  agent.stderr.on('data', (text) => (stderr += text));
  await until('the agent is on the roll', 30_000, async () => Object.values(await rollStates(store))[0] === 'present');
  const list = await run(bundle, ['list', '--store', store, '--no-legend']);
  assert.match(list.stdout, /i-/);
  agent.kill('SIGTERM');
  assert.equal(await ended, 0);
  assert.doesNotMatch(stderr + list.stderr, /LOADED/);
  assert.match((await run(bundle, ECS)).stderr, /LOADED/);
});

test('of Node a list from etcd loads HTTP/2, and not what packages only may need', async (t) => {
  const bundle = await installed(t, null);
  const hook = join(bundle, '../hook.cjs');
  await writeFile(hook, `process.on('exit', () => console.log(process.moduleLoadList.join(';')));`);
  const { stdout, stderr } = await run(bundle, ['list', '--store', 'etcd://[::1]:1'], ['--require', hook]);
  assert.match(stderr, /^rollcall list: etcd at http:\/\/\[::1\]:1: /);
  const loaded = stdout.trim().split(';');
  const asked = ['http2', 'zlib', 'child_process', 'dgram'].map((name) => `NativeModule ${name}`);
  assert.deepEqual(
    asked.filter((name) => loaded.includes(name)),
    ['NativeModule http2'],
  );
});

test('without the SDK’s bundle everything else works, and a list from ECS says what is missing', async (t) => {
  const bundle = await installed(t, null);
  assert.deepEqual((await run(bundle, ['list', '--help'])).code, 0);
  const { code, stderr } = await run(bundle, ECS);
  assert.equal(
    stderr,
    'rollcall list: cannot load the AWS SDK (MODULE_NOT_FOUND): ecs-sdk.cjs must be in the same directory as rollcall.cjs; install both\n',
  );
  assert.equal(code, 1);
});
