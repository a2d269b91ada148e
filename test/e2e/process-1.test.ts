import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from '../support/machine-time.ts';
import { startOwned } from '../support/owned-process.ts';
import { CLEAN_ENV, PATIENCE_MS } from '../support/rollcall-process.ts';

const BUNDLE = fileURLToPath(new URL('../../dist/rollcall.cjs', import.meta.url));
/** What the command leaves, the agent kills; then nothing but a process 1 that reaps can take it away. */
const CHECK = ['--check-exec', 'orphan=sh -c "sleep 300 & exit 0"'];

/** The first lines of an agent that is process 1 of a process namespace, as in a container, or a child of that one. */
async function firstLines(t: TestContext, init: readonly string[], flags: readonly string[]): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-process-1-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const rights = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const isolated = ['unshare', ...rights, '--pid', '--fork', '--kill-child=KILL', '--mount-proc'] as const;
  const agent = [process.execPath, BUNDLE, 'agent', '--store', `sqlite:${dir}/roll.db`, '--listen', '127.0.0.1:0'];
  const away = ['--metadata-endpoint', 'http://127.0.0.1:1', '--docker-socket', 'off'];
  const { child } = startOwned(t, [...isolated, ...init, ...agent, ...away, ...flags], CLEAN_ENV);
  let output = '';
  child.stderr.on('data', (chunk) => (output += chunk));
  await until('it answers', PATIENCE_MS, () => output.includes('answers on'));
  return output;
}

test('an agent that is process 1 and runs commands says that it needs an init, and only such a one', async (t) => {
  const warning = /"level":"warn",.*process 1 of its container, .*ROLLCALL_DOCKER_ARGS=--init/;
  assert.match(await firstLines(t, [], CHECK), warning);
  assert.doesNotMatch(await firstLines(t, [], []), warning);
  assert.doesNotMatch(await firstLines(t, ['sh', '-c', '"$@" & wait', 'sh'], CHECK), warning);
});
