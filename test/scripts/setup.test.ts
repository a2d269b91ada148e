import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { diesWithParent } from '../support/dies-with-parent.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A checkout of nothing but scripts/setup and what it looks at, with stand-ins for npm and Node, and shorter deadlines. */
async function checkout(t: TestContext, npm: string, build = 'mkdir -p dist; : >dist/rollcall.cjs') {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-setup-'));
  t.after(async () => {
    const pid = Number(await readFile(join(dir, 'sleeper'), 'utf8').catch(() => ''));
    if (pid > 0) process.kill(pid, 'SIGKILL');
    await rm(dir, { recursive: true, force: true });
  });
  for (const folder of ['bin', 'scripts', 'src', 'node_modules/.bin'])
    await mkdir(join(dir, folder), { recursive: true });
  for (const file of ['package.json', 'package-lock.json', '.npmrc', 'tsconfig.json', 'tsconfig.client.json']) {
    await writeFile(join(dir, file), '');
  }
  for (const name of ['setup', 'build.mjs']) await cp(join(ROOT, 'scripts', name), join(dir, 'scripts', name));
  const standIn = (path: string, text: string) => writeFile(join(dir, path), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
  await standIn('bin/npm', npm);
  await standIn('node_modules/.bin/node', build);
  // All but the number of seconds is as the script has it.
  await standIn('bin/timeout', `exec /usr/bin/timeout "$1" "$2" "$3" 3 "\${@:5}"`);
  return async () => {
    const [file, args] = diesWithParent('TERM', join(dir, 'scripts/setup'), []);
    const child = spawn(file, args, { env: { PATH: `${dir}/bin:/usr/bin:/bin` }, timeout: 60_000 });
    let stderr = '';
    child.stderr.on('data', (chunk) => (stderr += chunk));
    const [code] = await once(child, 'exit');
    return { code, lastLine: stderr.trimEnd().split('\n').at(-1) };
  };
}

test('a registry that hangs is given up, and what it leaves running keeps no later setup out', async (t) => {
  // The first one leaves a child behind that holds all that it was given.
  const setup = await checkout(t, '[ -e sleeper ] && exit; sleep 600 >/dev/null 2>&1 & echo $! >sleeper; wait');
  assert.deepEqual(await setup(), {
    code: 1,
    lastLine:
      'scripts/setup: npm ci did not end within 900 s: see whether the npm registry answers (npm ping), then run this again',
  });
  const { code, lastLine } = await setup();
  assert.equal(code, 0, lastLine);
});

test('a build that hangs is given up', async (t) => {
  const setup = await checkout(t, 'exit 0', 'exec sleep 600');
  assert.deepEqual(await setup(), {
    code: 1,
    lastLine: 'scripts/setup: the build did not end within 300 s: run this again',
  });
});

test('an npm or a build that fails is said to have failed, and is done again', async (t) => {
  const setup = await checkout(
    t,
    '[ -e again ] && exit; : >again; exit 1',
    '[ -e dist ] && { : >dist/rollcall.cjs; exit; }; mkdir dist; exit 1',
  );
  const failures = [await setup(), await setup()];
  assert.deepEqual(
    failures.map(({ code, lastLine }) => [code, lastLine]),
    [
      [1, 'scripts/setup: npm ci failed: see above; the npm registry must be reachable'],
      [1, 'scripts/setup: the build failed: see above'],
    ],
  );
  assert.equal((await setup()).code, 0);
});
