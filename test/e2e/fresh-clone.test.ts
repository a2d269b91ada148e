import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cloneCheckout } from '../support/clone-checkout.ts';
import { until } from '../support/machine-time.ts';
import { diesWithParent } from '../support/owned-process.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

/** Today's, that of Node 22, and Debian 12's; the last on the Node that it has there. */
const NPM_VERSIONS = ['11.21.2', '10.9.4', '9.2.0'];
const OLD_NODE = { version: '18.20.8', forNpm: '9.2.0' };
const VERSIONS = join(ROOT, 'node_modules/.cache/npm-versions');

/** The tries share a cache, which is empty for the first of them. */
let cache = '';
before(async () => {
  cache = await mkdtemp(join(tmpdir(), 'rollcall-npm-cache-'));
  const wanted = NPM_VERSIONS.map((version) => `npm-${version}@npm:npm@${version}`);
  wanted.push(`node-old@npm:node-linux-${process.arch}@${OLD_NODE.version}`);
  const stamp = join(VERSIONS, 'stamp');
  if ((await readFile(stamp, 'utf8').catch(() => '')) === wanted.join()) return;
  await rm(VERSIONS, { recursive: true, force: true });
  await mkdir(VERSIONS, { recursive: true });
  await writeFile(join(VERSIONS, 'package.json'), '{}');
  await run('npm', ['install', '--no-save', '--ignore-scripts', '--loglevel=error', ...wanted], { cwd: VERSIONS });
  await writeFile(stamp, wanted.join());
});
after(() => rm(cache, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The checkout as it is, uncommitted changes included, in a folder of its own and with that npm on the PATH. */
async function clone(t: TestContext, version: string) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-clone-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await cloneCheckout(join(dir, 'checkout'));
  await mkdir(join(dir, 'bin'));
  const node = version === OLD_NODE.forNpm ? join(VERSIONS, 'node_modules/node-old/bin/node') : process.execPath;
  const cli = join(VERSIONS, `node_modules/npm-${version}/bin/npm-cli.js`);
  await writeFile(join(dir, 'bin/npm'), `#!/bin/sh\nexec '${node}' '${cli}' "$@"\n`, { mode: 0o755 });

  const path = (name: string) => join(dir, 'checkout', name);
  /** In a process group of its own, as a terminal starts it. */
  const start = (command: string, env: Record<string, string> = {}) => {
    const [script = '', ...args] = command.split(' ');
    const [file, all] = diesWithParent('TERM', path(script), args);
    const PATH = `${join(dir, 'bin')}:${process.env['PATH']}`;
    const child = spawn(file, all, {
      env: { ...process.env, PATH, npm_config_cache: cache, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const output = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => (output.stdout += chunk));
    child.stderr.on('data', (chunk) => (output.stderr += chunk));
    t.after(() => void (child.exitCode === null && process.kill(-(child.pid ?? 0), 'SIGTERM')));
    const ended: Promise<Ended> = once(child, 'close').then(([code]) => ({ code, ...output }));
    return { pid: child.pid ?? 0, ended, stderr: () => output.stderr };
  };
  const npm = async (...args: string[]) => {
    const env = { ...process.env, npm_config_cache: cache };
    return (await run(join(dir, 'bin/npm'), args, { cwd: path('.'), env, maxBuffer: 10_000_000 })).stdout;
  };
  return { dir, path, npm, start, run: (...parameters: Parameters<typeof start>) => start(...parameters).ended };
}
type Clone = Awaited<ReturnType<typeof clone>>;

/** What happens before the demo is run that has to work, with each npm another thing. */
const BEFORE: Record<string, (checkout: Clone) => Promise<void>> = {
  'a registry that refused': async () => {},

  'an interrupted try': async ({ start }) => {
    const { pid, ended, stderr } = start('scripts/demo --once');
    await until('npm is at work', PATIENCE_MS, () => stderr().includes(' downloads '));
    process.kill(-pid, 'SIGINT'); // what a terminal does on Ctrl-C
    const { code, stderr: told } = await ended;
    assert.equal(code, 130, told);
    assert.match(told, /^scripts\/setup: interrupted while installing packages; the next run starts that over\n$/m);
  },

  'a stamp without packages, two at once, without a home': async ({ path, start, run: runScript }) => {
    // As the scripts of 0.1.0 left it with npm 9.
    await mkdir(path('node_modules'));
    const hash = createHash('sha256');
    for (const name of ['package.json', 'package-lock.json', '.npmrc']) hash.update(await readFile(path(name)));
    await writeFile(path('node_modules/.setup-stamp'), `${hash.digest('hex')}\n`);

    const env = { HOME: '/dev/null/home', npm_config_cache: '' };
    const first = start('scripts/demo --once', env);
    await until('npm is at work', PATIENCE_MS, () => first.stderr().includes(' downloads '));
    const second = await runScript('scripts/demo --once', env);
    for (const { code, stderr } of [await first.ended, second]) assert.equal(code, 0, stderr);
    assert.match(
      first.stderr(),
      /^scripts\/setup: npm's cache \/dev\/null\/home\/\.npm cannot be written \(Not a directory\): taking a temporary one$/m,
    );
    const waits = `scripts/setup: waiting for another scripts/setup of this checkout to end, process `;
    assert.ok(second.stderr.startsWith(waits), second.stderr);
    assert.doesNotMatch(second.stderr, /installing|building/);
  },
};

const megabytes = async (folder: string) =>
  Number((await run('du', ['-sm', '--exclude=.cache', '--exclude=_logs', folder])).stdout.split('\t')[0]);

/**
 * Holds the figures that a setup told before it began against what there is afterwards. The tests' packages find some of
 * what they need in the cache.
 */
function assertFigures(stderr: string, measured: { readonly download: number; readonly disk: number }): void {
  const [, download, disk] = /: up to (\d+) MB, less what its cache has; (\d+) MB on the disk$/m.exec(stderr) ?? [];
  for (const [told, is] of [
    [Number(download), measured.download],
    [Number(disk), measured.disk],
  ] as const) {
    assert.ok(is <= told * 1.1 && is >= told * 0.75, `${told} MB are announced, ${is} MB are measured`);
  }
}

for (const [index, [what, prepare]] of Object.entries(BEFORE).entries()) {
  const version = NPM_VERSIONS[index] ?? '';
  test(`npm ${version}: the demo and the tests set themselves up after ${what}`, { timeout: 600_000 }, async (t) => {
    const checkout = await clone(t, version);
    const { path } = checkout;
    const nowhere = {
      npm_config_registry: 'http://127.0.0.1:9/',
      npm_config_fetch_retries: '0',
      npm_config_cache: join(checkout.dir, 'empty'),
    };
    const refused = await checkout.run('scripts/demo --once', nowhere);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /scripts\/setup: npm ci failed: the registry http:\/\/127\.0\.0\.1:9\/ did not answer \(ECONNREFUSED\): .*\n$/,
    );
    await prepare(checkout);

    const demo = await checkout.run('scripts/demo --once');
    assert.equal(demo.code, 0, demo.stderr);
    assert.equal(demo.stdout.match(/ i-[0-9a-f]{17} +\w+ +arn:/g)?.length, 3, demo.stdout);
    const cached = await megabytes(cache);
    if (index === 0) assertFigures(demo.stderr, { download: cached, disk: await megabytes(path('node_modules')) });
    for (const forTests of ['test/node_modules', 'node_modules/typescript', 'node_modules/@biomejs', 'dist/types']) {
      assert.ok(!existsSync(path(forTests)), `the demo has no use for ${forTests}`);
    }
    const installed = (await stat(path('node_modules/.package-lock.json'))).ino;

    if (version === OLD_NODE.forNpm) {
      await rm(path('dist'), { recursive: true });
      const packed = await checkout.npm('pack', '--json');
      for (const file of ['dist/client.js', 'dist/types/client/client.d.ts', 'docs/events.md']) {
        assert.ok(packed.includes(`"${file}"`), packed);
      }
    }
    const lint = await checkout.run('scripts/test lint');
    assert.equal(lint.code, 0, lint.stdout + lint.stderr);
    if (index === 0) {
      const disk = await megabytes(path('test/node_modules'));
      assertFigures(lint.stderr, { download: (await megabytes(cache)) - cached, disk });
    }
    const again = await checkout.run('scripts/demo --once');
    assert.equal(again.code, 0, again.stderr);
    assert.doesNotMatch(again.stderr, /scripts\/setup/);
    assert.equal((await stat(path('node_modules/.package-lock.json'))).ino, installed);
    assert.ok(existsSync(path('test/node_modules/typescript')));
  });
}
