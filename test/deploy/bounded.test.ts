import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const LIBRARY = fileURLToPath(new URL('../../scripts/lib', import.meta.url));

/** Runs `command` behind the libraries, with one second in place of the minute that a call may take. */
async function inLibrary(t: TestContext, fleetctl: string, command: string) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-bounded-'));
  t.after(async () => {
    const pid = Number(await readFile(join(dir, 'sleeper'), 'utf8').catch(() => ''));
    if (pid > 0) process.kill(pid, 'SIGKILL');
    await rm(dir, { recursive: true, force: true });
  });
  await writeFile(join(dir, 'fleetctl'), `#!/bin/bash\n${fleetctl}\n`, { mode: 0o755 });
  const script = `set -euo pipefail; script=here work=${dir}
    . ${LIBRARY}/common.sh; . ${LIBRARY}/fleet.sh
    timeout() { command timeout --foreground -k 1 1 "\${@:5}"; }
    ${command}`;
  const started = performance.now();
  const child = spawn('bash', ['-c', script], { env: { PATH: `${dir}:/usr/bin:/bin` }, timeout: 20_000 });
  let stderr = '';
  child.stderr.on('data', (chunk) => (stderr += chunk));
  await once(child, 'close');
  return { stderr, ms: performance.now() - started };
}

for (const [what, command] of [
  ['its version', 'open_fleet'],
  ['the units', 'wanted_state rollcall.service || fail "cannot read: $(cause)"'],
] as const) {
  test(`a fleetctl whose own child hangs, asked for ${what}, is waited for no longer than one that hangs itself`, async (t) => {
    // As a wrapper that reaches the fleet over ssh: what is ended is the wrapper, and ssh still holds the pipe.
    const wrapper = `exec 3>&1; sleep 60 & echo $! >"\${0%/*}/sleeper"; wait`;
    const { stderr, ms } = await inLibrary(t, wrapper, command);
    assert.match(stderr, /^here: cannot (ask|read).*: no answer within 60 s/m);
    assert.ok(ms < 15_000, `${ms} ms`);
  });
}

test('one that does not end when it is told to is ended, and said to have hung', async (t) => {
  const { stderr } = await inLibrary(t, 'trap "" TERM; for i in {1..60}; do sleep 1; done', 'open_fleet');
  assert.match(stderr, /no answer within 60 s/);
});
