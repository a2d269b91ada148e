import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { contractOf, schemaOf } from '../support/contract.ts';
import { until } from '../support/machine-time.ts';
import { agentUrl, CLEAN_ENV, getJson, PATIENCE_MS, startFleet, startRollcall } from '../support/rollcall-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const EXAMPLE = join(ROOT, 'examples/watch.mjs');
const NODE = process.execPath;
const TTL_MS = 3_000;

/** The example as a reader would start it; the test's end kills what is left of it. */
function startExample(t: TestContext, url: string) {
  const child = spawn(NODE, [EXAMPLE, url], { cwd: ROOT, env: CLEAN_ENV, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => (output.stdout += chunk));
  child.stderr.on('data', (chunk) => (output.stderr += chunk));
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, ended, output };
}

test('the example follows real agents from the store and over HTTP, and ends at Ctrl-C', async (t) => {
  const fleet = await startFleet(t, 3);
  const [a = '', b = '', c = ''] = fleet.instanceIds;
  const store = `sqlite:${join(fleet.dir, 'roll.db')}`;
  const start = async (n: number) => {
    const env = await fleet.environment(n);
    return startRollcall(t, ['agent', '--store', store, '--presence-ttl', `${TTL_MS / 1_000}s`], env);
  };
  const first = await start(1);
  const url = await agentUrl(first); // it makes the store
  const [second, third] = [await start(2), await start(3)];
  await until('three are ready', PATIENCE_MS, async () =>
    (await Promise.all([url, await agentUrl(second), await agentUrl(third)].map((at) => fetch(`${at}/readyz`)))).every(
      ({ ok }) => ok,
    ),
  );

  const contract = contractOf((await getJson(`${url}/openapi.json`)).body);
  for (const path of ['/v1/containerInstances?presence=all', '/v1/self', '/v1/status', '/v1/targets', '/healthz']) {
    assert.equal((await contract.answer(url, path)).status, 200, path);
  }
  const isRecord = schemaOf(JSON.parse(await readFile(join(ROOT, 'docs/schema/record.json'), 'utf8')));
  isRecord((await getJson(`${url}/v1/self`)).body.record);

  const examples = [startExample(t, store), startExample(t, url)];
  const told = async (line: string) => {
    for (const { output } of examples) {
      await until(`"${line}" has come`, PATIENCE_MS, () => {
        assert.doesNotMatch(output.stderr, /Error:/);
        return `\n${output.stdout}`.includes(`\n${line}`);
      });
    }
  };
  await told('following 3 nodes');
  for (const id of [a, b, c]) await told(`${id} is passing`);

  second.child.kill('SIGTERM');
  await told(`rollcall.instance.departed ${b}`);
  third.child.kill('SIGKILL');
  await told(`${c} is lost: 10.`);
  await start(3);
  await told(`rollcall.instance.recovered ${c}`);

  for (const { child, ended, output } of examples) {
    child.kill('SIGINT');
    assert.equal(await ended, 0, output.stderr);
  }
});
