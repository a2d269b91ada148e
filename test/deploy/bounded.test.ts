import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { timed } from '../support/machine-time.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Runs `command` after the libraries, with a deadline of 1 s instead of 60 s for each call. */
async function inLibrary(t: TestContext, fleetctl: string, command: string) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-bounded-'));
  t.after(async () => {
    const pid = Number(await readFile(join(dir, 'sleeper'), 'utf8').catch(() => ''));
    if (pid > 0) process.kill(pid, 'SIGKILL');
    await rm(dir, { recursive: true, force: true });
  });
  await writeFile(join(dir, 'fleetctl'), `#!/bin/bash\n${fleetctl}\n`, { mode: 0o755 });
  const script = `set -euo pipefail; script=here work=${dir} root=${ROOT}
    . scripts/lib/common.sh; . scripts/lib/fleet.sh
    timeout() { command timeout --foreground -k 1 1 "\${@:5}"; }
    ${command}`;
  const child = spawn('bash', ['-c', script], { cwd: ROOT, env: { PATH: `${dir}:/usr/bin:/bin` }, timeout: 120_000 });
  let stderr = '';
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const [, tookMs] = await timed(once(child, 'close'));
  return { stderr, tookMs };
}

for (const [what, command] of [
  ['its version', 'open_fleet'],
  ['the units', 'wanted_state rollcall.service || fail "cannot read: $(cause)"'],
] as const) {
  test(`the wait for a fleetctl whose child process hangs (${what}) is no longer than for one that hangs itself`, async (t) => {
    // Like a wrapper that uses ssh: the wrapper is killed, and ssh keeps the pipe open.
    const wrapper = `exec 3>&1; sleep 60 & echo $! >"\${0%/*}/sleeper"; wait`;
    const { stderr, tookMs } = await inLibrary(t, wrapper, command);
    assert.match(stderr, /^here: cannot (ask|read).*: no answer within 60 s/m);
    assert.ok(tookMs < 15_000, `${tookMs} ms`);
  });
}

test('a command that ignores SIGTERM is killed, and the cause is the deadline', async (t) => {
  const { stderr } = await inLibrary(t, 'trap "" TERM; for i in {1..60}; do sleep 1; done', 'open_fleet');
  assert.match(stderr, /no answer within 60 s/);
});
