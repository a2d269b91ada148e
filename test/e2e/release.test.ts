import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cloneCheckout, toolsWithout } from '../support/clone-checkout.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const { version: VERSION } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
const NEXT = `${Number(VERSION.split('.')[0]) + 1}.0.0`;
const AFTER = NEXT.replace('.0.0', '.1.0-rc.1');
const run = promisify(execFile);

/** A repository of its own with what is in this checkout, set up, on the branch `main` with one commit. */
async function repository(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-release-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const checkout = join(dir, 'checkout');
  await cloneCheckout(checkout);
  for (const folder of ['dist', 'node_modules', 'test/node_modules']) {
    // Links to the same files where both are on one disk.
    const [from, to] = [join(ROOT, folder), join(checkout, folder)];
    await run('cp', ['-al', from, to]).catch(() =>
      cp(from, to, { recursive: true, verbatimSymlinks: true, force: true }),
    );
  }
  const tools = await toolsWithout(t, 'docker', 'npm');
  const path = (name: string) => join(checkout, name);
  const bin = join(dir, 'bin');
  await mkdir(bin);
  const program = (name: string, text: string) => writeFile(join(bin, name), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
  // The packages are there: a version is no reason to install them again.
  const npm = (await run('bash', ['-c', 'command -v npm'])).stdout.trim();
  await program('npm', `[ "$1" != ci ] || { echo 'no install is wanted here' >&2; exit 1; }; exec ${npm} "$@"`);
  const identity = { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@example.com' };
  const env = {
    ...process.env,
    ...identity,
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@example.com',
    GIT_CONFIG_GLOBAL: '/dev/null',
    PATH: `${bin}:${tools}`,
    SOURCE_DATE_EPOCH: '1800000000',
  };
  const git = async (...args: string[]) => (await run('git', args, { cwd: checkout, env })).stdout.trim();
  await git('init', '--quiet', '--initial-branch=main');
  await git('add', '--all');
  await git('commit', '--quiet', '--message=start');
  const release = (...args: string[]) =>
    run(path('scripts/release'), args, { cwd: dir, env, timeout: 300_000 }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, stdout, stderr }) => ({ code: code as number, stdout: stdout as string, stderr: stderr as string }),
    );
  const text = (name: string) => readFile(path(name), 'utf8');
  const addEntry = async (entry: string) => {
    const changelog = (await text('CHANGELOG.md')).replace(
      '## [Unreleased]\n',
      `## [Unreleased]\n\n### Added\n\n- ${entry}\n`,
    );
    await writeFile(path('CHANGELOG.md'), changelog);
    await git('commit', '--quiet', '--all', `--message=${entry}`);
  };
  return { dir, path, program, git, release, text, addEntry };
}

/** The last line that a script told. */
const lastLine = (stderr: string) => stderr.trimEnd().split('\n').at(-1) ?? '';

test('a release is made up to the push, without docker and with it, and taken back when a step fails', {
  timeout: 600_000,
}, async (t) => {
  const { dir, path, program, git, release, text, addEntry } = await repository(t);
  await run('git', ['init', '--quiet', '--bare', join(dir, 'remote')]);
  await git('remote', 'add', 'origin', join(dir, 'remote'));
  await addEntry('Something new.');
  const start = await git('rev-parse', 'HEAD');

  await t.test('what stops it is printed before anything is changed', async () => {
    const refused = async (args: readonly string[], code: number, reason: RegExp) => {
      const ended = await release(...args);
      assert.match(lastLine(ended.stderr), reason);
      assert.equal(ended.code, code);
    };
    await refused([], 2, /no version given; see scripts\/release --help$/);
    await refused(['--image'], 2, /unknown flag "--image"/);
    await refused([NEXT, AFTER], 2, /one version, not /);
    await refused(['1.x', '--no-image'], 1, /"1\.x" is not a version/);
    await refused([VERSION, '--no-image'], 1, /does not come after/);
    await refused(
      [NEXT],
      1,
      /docker is not on the PATH .*: install docker, or release without the image with --no-image$/,
    );
    await program('docker', 'echo Cannot connect to the daemon >&2; exit 1');
    await refused([NEXT], 1, /docker does not answer \(Cannot connect to the daemon\): start it, or .* --no-image$/);
    await rm(join(dir, 'bin/docker'));
    await git('tag', `v${NEXT}`);
    await refused([NEXT, '--no-image'], 1, /the tag v\S+ is there already: choose another version, or remove it/);
    await git('tag', '--delete', `v${NEXT}`);
    await git('checkout', '--quiet', '--detach');
    await refused([NEXT, '--no-image'], 1, /no branch is checked out/);
    await git('checkout', '--quiet', 'main');
    await writeFile(path('new'), '');
    await refused([NEXT, '--no-image'], 1, /the checkout has changes: commit or remove them first \(\?\? new …\)$/);
    await rm(path('new'));
    assert.deepEqual([await git('rev-parse', 'HEAD'), await git('status', '--porcelain')], [start, '']);
  });

  await t.test(
    'without an image: version, changelog, commit, package, tag, and the commands that are left',
    async () => {
      const { code, stdout, stderr } = await release(NEXT, '--no-image');
      assert.equal(code, 0, stderr);
      assert.match(stderr, /^scripts\/release: no image was built, as --no-image says$/m);
      assert.match(
        stderr,
        /^scripts\/release: the package's repository is a placeholder, .* set "repository" in pack/m,
      );
      assert.equal(await git('log', '-1', '--format=%s %P'), `release: set the version to ${NEXT} ${start}`);
      assert.equal(await git('status', '--porcelain'), '');
      assert.equal(await git('cat-file', '-t', `v${NEXT}`), 'tag');
      const head = await git('rev-parse', 'HEAD');
      assert.equal(await git('rev-parse', `v${NEXT}^{commit}`), head);
      for (const file of ['package.json', 'package-lock.json'])
        assert.equal(JSON.parse(await text(file)).version, NEXT);
      assert.match(
        await text('CHANGELOG.md'),
        /\n## \[Unreleased\]\n\n## \[\d+\.0\.0\] - 2027-01-15\n\n### Added\n\n- Something new\.\n/,
      );
      const readme = await text('README.md');
      assert.ok(readme.includes(`REGISTRY/rollcall:${NEXT}`) && !readme.includes(`rollcall:${VERSION}`));
      const packed = await run('tar', ['-xOf', path(`rollcall-${NEXT}.tgz`), 'package/package.json']);
      assert.equal(JSON.parse(packed.stdout).version, NEXT);

      assert.ok(stdout.includes(`--build-arg VERSION=${NEXT} --build-arg REVISION=${head} `), stdout);
      const push = /^ {2}git (push .*)$/m.exec(stdout)?.[1] ?? '';
      await git(...push.split(' '));
      assert.equal(
        await git('ls-remote', 'origin', 'main', `v${NEXT}^{}`),
        `${head}\trefs/heads/main\n${head}\trefs/tags/v${NEXT}^{}`,
      );
    },
  );

  await t.test('an image that cannot be built takes all of it back', async () => {
    await addEntry('Something newer.');
    const before = await git('rev-parse', 'HEAD');
    await program('docker', '[ "$1" != build ] || { echo no space left >&2; exit 1; }');
    const { code, stderr } = await release(AFTER);
    assert.equal(code, 1);
    const told = `scripts/release: failed at: build the image rollcall:${AFTER}; nothing is released, and the checkout is as it was`;
    assert.equal(lastLine(stderr), told);
    assert.match(stderr, /^no space left$/m);
    assert.deepEqual([await git('rev-parse', 'HEAD'), await git('status', '--porcelain')], [before, '']);
    assert.equal(await git('tag', '--list', `v${AFTER}`), '');
  });

  await t.test('with an image: it is labelled with the version and the commit', async () => {
    await program('docker', `echo "$*" >>${dir}/docker-calls`);
    const { code, stderr } = await release(AFTER);
    assert.equal(code, 0, stderr);
    const head = await git('rev-parse', `v${AFTER}^{commit}`);
    const calls = (await readFile(join(dir, 'docker-calls'), 'utf8')).trim().split('\n');
    const build = `build --build-arg VERSION=${AFTER} --build-arg REVISION=${head} --tag rollcall:${AFTER} .`;
    assert.deepEqual(calls, ['version', build]);
  });
});
