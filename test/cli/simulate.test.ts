import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseEnv } from 'node:util';
import { enumerateInstances } from '../../src/ecs/list-instances.ts';
import { openEcsApi } from '../../src/ecs/open-ecs-api.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { rollcall, startRollcall } from '../support/rollcall-process.ts';

/** Runs `rollcall simulate`; resolves when its output is complete. */
async function simulate(t: TestContext, ...args: readonly string[]) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-test-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const running = startRollcall(t, ['simulate', '--dir', dir, ...args]);
  while (!/Ctrl-C/.test(running.stdout())) {
    if (running.child.exitCode !== null) assert.fail(running.stderr());
    await sleep(20);
  }
  return { stdout: running.stdout(), file: async (name: string) => parseEnv(await readFile(join(dir, name), 'utf8')) };
}

test('--ecs prints its endpoint, writes ecs.env, and gives each node’s agent the same variables', async (t) => {
  const { stdout, file } = await simulate(t, '--nodes', '5', '--clusters', '2', '--ecs');
  const ecs = await file('ecs.env');
  assert.deepEqual(Object.keys(ecs).sort(), [
    'AWS_ACCESS_KEY_ID',
    'AWS_DEFAULT_REGION',
    'AWS_ENDPOINT_URL_ECS',
    'AWS_REGION',
    'AWS_SECRET_ACCESS_KEY',
  ]);
  const node = await file('node-5.env');
  for (const [name, value] of Object.entries(ecs)) assert.equal(node[name], value);
  assert.match(stdout, new RegExp(`^ECS: ${ecs['AWS_ENDPOINT_URL_ECS']}; .*env \\$\\(cat .*/ecs\\.env\\)\\.$`, 'm'));

  Object.assign(process.env, ecs);
  t.after(() => {
    for (const name of Object.keys(ecs)) delete process.env[name];
  });
  const api = await openEcsApi({ region: null, profile: null }, { clock: systemClock, env: process.env });
  t.after(() => api.close());
  const { clusters, instances } = await enumerateInstances(api, null, t.signal);
  assert.deepEqual(clusters, ['demo', 'demo-2']);
  assert.deepEqual(
    ['demo', 'demo-2'].map((name) => instances.filter(({ cluster }) => cluster === name).length),
    [3, 2],
  );
});

test('without --ecs there is no ECS endpoint and no variable for it', async (t) => {
  const { stdout, file } = await simulate(t, '--nodes', '1');
  assert.doesNotMatch(stdout, /ecs/i);
  assert.ok(Object.keys(await file('node-1.env')).every((name) => name.startsWith('ROLLCALL_')));
  await assert.rejects(file('ecs.env'), { code: 'ENOENT' });
});

test('too many clusters are wrong usage', async () => {
  const { code, stderr } = await rollcall(['simulate', '--clusters', '21']);
  assert.equal(code, 2);
  assert.match(stderr, /^rollcall simulate: .*--clusters.*21.*1.*20.*\n$/);
});
