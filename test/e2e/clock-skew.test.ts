import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ecsOf, startEcsEndpoint } from '../support/ecs-endpoint.ts';
import { startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS, rollcall, startFleet, startRollcall } from '../support/rollcall-process.ts';

const HOUR_MS = 3_600_000;

/** What `--require` of it shifts the wall clock by. */
async function shiftedBy(t: TestContext, ms: number): Promise<{ readonly dir: string; readonly NODE_OPTIONS: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-clock-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const shift = join(dir, 'shift.cjs');
  await writeFile(
    shift,
    `const now = Date.now; const Real = Date; Date.now = () => now() + ${ms};\n` +
      'globalThis.Date = class extends Real { constructor(...a) { a.length ? super(...a) : super(Real.now()); } };\n',
  );
  return { dir, NODE_OPTIONS: `--require=${shift}` };
}

for (const [shiftMs, words, skew] of [
  [-HOUR_MS, '60 min behind', -3_600],
  [5 * 60_000, '5 min ahead of', 300],
] as const) {
  test(`a node whose clock is ${words} the others' is named, and its ages are right`, async (t) => {
    const { dir, NODE_OPTIONS } = await shiftedBy(t, shiftMs);
    const store = `sqlite:${join(dir, 'roll.db')}`;
    const fleet = await startFleet(t, 1);
    const [id = ''] = fleet.instanceIds;
    const args = ['agent', '--store', store, '--listen', '127.0.0.1:0'];
    startRollcall(t, args, { ...(await fleet.environment(1)), NODE_OPTIONS });
    const list = (...more: string[]) => rollcall(['list', '--store', store, ...more]);
    await until('it is on the roll', PATIENCE_MS, async () => (await list()).stdout.includes(id));
    await until('its clock is known', PATIENCE_MS, async () => {
      const [node] = JSON.parse((await list('-o', 'json')).stdout).containerInstances;
      return node.clockSkewSeconds === skew;
    });
    const { stderr } = await list();
    assert.equal(stderr, `warning: the clock of ${id} is ${words} EC2's; the times in its record are by it\n`);
    const show = (await rollcall(['show', id, '--store', store])).stdout;
    const ages = [...show.matchAll(/\d{4}-\S+Z \(([^)]*)\)/g)].map(([, age]) => age ?? '');
    assert.ok(ages.length >= 4, show);
    for (const age of ages) assert.match(age, /^(?:[0-2]m)?\d+m?s\d*(?: ago)?$/, show);
    assert.match(show, new RegExp(`^Clock +the clock of ${id} is ${words} EC2's`, 'm'));
  });
}

test('an audit on a machine whose clock is off says so, and goes by that of ECS', async (t) => {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const endpoint = await startEcsEndpoint(t, ecsOf({ demo: 0 }));
  const { NODE_OPTIONS } = await shiftedBy(t, HOUR_MS);
  const env = {
    ...{ AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret', AWS_REGION: 'us-east-1' },
    ...{ AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null', AWS_EC2_METADATA_DISABLED: 'true' },
    AWS_ENDPOINT_URL_ECS: endpoint.url,
  };
  const args = ['audit', '--cluster', 'demo', '--store', etcd.clientUrl.replace('http', 'etcd'), '-o', 'json'];
  const right = await rollcall(args, env);
  assert.deepEqual([right.code, right.stderr], [0, '']);
  const { code, stdout, stderr } = await rollcall(args, { ...env, NODE_OPTIONS });
  const warning = "warning: the clock of this machine is 60 min ahead of EC2's; the audit goes by that of ECS\n";
  assert.deepEqual([code, stderr], [0, warning]);
  const sinceMs = Date.parse(JSON.parse(stdout).finishedAt) - Date.parse(JSON.parse(right.stdout).finishedAt);
  assert.ok(sinceMs > -60_000 && sinceMs < 30 * 60_000, `${sinceMs} ms`);
});
