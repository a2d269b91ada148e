import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { runProgram } from '../../src/cli/program.ts';
import { until } from '../support/machine-time.ts';
import { runInProcess, testContext } from '../support/run-in-process.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { startEcsSimulation } from '../support/start-ecs-simulation.ts';
import { openTestRoll } from '../support/test-roll.ts';

const never = new AbortController().signal;
const arnOf = (n: number) =>
  `arn:aws:ecs:us-east-1:123456789012:container-instance/demo/${String(n).padStart(32, '0')}`;

/** Nodes 1 to 10, with slots for one of them, on the roll and in a simulated ECS; no variable names a region. */
async function fleet(t: TestContext, nodes = 10) {
  const roll = await openTestRoll(t);
  const ecs = await startEcsSimulation(t, { nodes: 1 });
  for (let n = 1; n <= nodes; n += 1) {
    const known = { ec2InstanceId: sampleInstanceId(n), containerInstanceArn: arnOf(n) };
    await ecs.control('POST', '/ecs/instances', { ...known, cluster: 'demo', count: 1 });
    await roll.register(n, { ...known, cluster: 'demo' });
  }
  const env = Object.fromEntries(Object.entries(ecs.env).filter(([name]) => !name.endsWith('REGION')));
  const rollcall = (...args: string[]) => runInProcess([...args, '--store', roll.url], { env });
  const statuses = async (...nodes: number[]) =>
    Promise.all(
      nodes.map(async (n) => {
        const inEcs: { status: string } = await ecs.control('GET', `/ecs/instances/${sampleInstanceId(n)}`);
        return inEcs.status;
      }),
    );
  return { roll, ecs, env, rollcall, statuses };
}

test('several nodes are drained in turn, each within the share, with a line each; one that fails stops no other', async (t) => {
  const { rollcall, statuses } = await fleet(t);
  const drained = await rollcall(
    'drain',
    '10.0.0.1',
    'i-0000000a',
    sampleInstanceId(1),
    '10.0.0.3',
    '--drain-max-share',
    '20%',
  );
  assert.deepEqual(
    [drained.code, drained.stdout, drained.stderr],
    [
      1,
      'i-00000001 (10.0.0.1, demo): DRAINING until rollcall undrain; 1 of 2 drain slots of demo are taken\n' +
        'i-0000000a (10.0.0.10, demo): DRAINING until rollcall undrain; 2 of 2 drain slots of demo are taken\n',
      'rollcall drain: i-00000003 (10.0.0.3, demo): 2 of 2 drain slots of demo are taken: i-00000001, i-0000000a; undrain one of them, or use --force\n' +
        'rollcall drain: 1 of 3 nodes failed; the lines above say why\n',
    ],
  );
  assert.deepEqual(await statuses(1, 10, 3), ['DRAINING', 'DRAINING', 'ACTIVE']);
  const undrained = await rollcall('undrain', '10.0.0.1', 'i-00000099', '10.0.0.10');
  assert.deepEqual([undrained.code, undrained.stdout.split('\n').length], [1, 3], undrained.stderr);
  assert.match(
    undrained.stderr,
    /^rollcall undrain: i-00000099 is not on the roll at memory:\S+; rollcall list --all prints all nodes\nrollcall undrain: 1 of 3 nodes failed; the lines above say why\n$/,
  );
  assert.deepEqual(await statuses(1, 10), ['ACTIVE', 'ACTIVE']);
  const none = await rollcall('undrain', '10.0.0.1', '10.0.0.3');
  assert.deepEqual([none.code, none.stderr], [0, '']);
});

test('a node whose record cannot be read is not called gone', async (t) => {
  const { roll, rollcall } = await fleet(t, 1);
  await roll.register(9, { schemaVersion: 99 as never });
  const { code, stderr } = await rollcall('drain', sampleInstanceId(9));
  assert.equal(code, 1);
  assert.match(stderr, /^rollcall drain: the record of i-00000009 cannot be read: schemaVersion 99 is newer than 1/);
  for (let n = 100; n < 201; n += 1) await roll.register(n, { schemaVersion: 99 as never });
  const among = await rollcall('drain', '10.0.0.200');
  assert.equal(among.code, 1);
  assert.match(among.stderr, /^rollcall drain: the record of 10\.0\.0\.200 may be among those that cannot be read: /);
  // The store has no key of it, whatever else cannot be read there.
  const gone = await rollcall('drain', 'i-0abc1234def567890');
  assert.match(gone.stderr, /^rollcall drain: i-0abc1234def567890 is not on the roll at /);
});

test('draining a node again with another reason says and keeps that one; without a reason it keeps what there is', async (t) => {
  const { roll, rollcall } = await fleet(t, 1);
  const reason = async () => (await roll.store.drainSlots.read(sampleInstanceId(1), never))?.claim.reason;
  const drain = async (...args: string[]) => {
    const { code, stdout, stderr } = await rollcall('drain', '10.0.0.1', ...args);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  };
  await drain('--reason', 'kernel update');
  const held = 'i-00000001 (10.0.0.1, demo): it is drained by hand already';
  assert.equal(await drain(), `${held}; its slot is held for 7 days from now`);
  assert.equal(await reason(), 'drained by hand: kernel update');
  assert.equal(await drain('--reason', 'bad disk', '--dry-run'), held);
  assert.equal(await reason(), 'drained by hand: kernel update');
  assert.equal(
    await drain('--reason', 'bad disk'),
    `${held}; its slot is held for 7 days from now, and its reason is now "drained by hand: bad disk"`,
  );
  assert.equal(await reason(), 'drained by hand: bad disk');
});

test('a dry run of several counts the slots of those before', async (t) => {
  const { rollcall, statuses } = await fleet(t, 2);
  const dry = await rollcall('drain', '10.0.0.1', '10.0.0.2', '--dry-run');
  assert.deepEqual(
    [dry.code, dry.stdout],
    [1, 'i-00000001 (10.0.0.1, demo): would be drained; 0 of 1 drain slots of demo are taken\n'],
  );
  assert.match(dry.stderr, /^rollcall drain: i-00000002 [^\n]*: 1 of 1 drain slots of demo are taken: i-00000001; /);
  assert.deepEqual(await statuses(1, 2), ['ACTIVE', 'ACTIVE']);
});

test('a name that is none, or that several nodes have, is wrong usage, and no node is drained', async (t) => {
  const { rollcall, statuses } = await fleet(t, 3);
  for (const wrong of ['no node', 'i-000']) {
    const { code, stdout, stderr } = await rollcall('drain', '10.0.0.1', wrong);
    assert.deepEqual([code, stdout], [2, ''], wrong);
    assert.match(stderr, /^rollcall drain: "[^\n]+\n$/);
  }
  assert.deepEqual(await statuses(1), ['ACTIVE']);
});

test('the region is that of the node’s ARN, whatever the environment says; --region outranks it', async (t) => {
  const { env, roll, rollcall, statuses } = await fleet(t, 1);
  const elsewhere = await runInProcess(['drain', '10.0.0.1', '--store', roll.url], {
    env: { ...env, AWS_REGION: 'eu-west-1' },
  });
  assert.equal(elsewhere.code, 0, elsewhere.stderr);
  assert.deepEqual(await statuses(1), ['DRAINING']);
  assert.equal((await rollcall('undrain', '10.0.0.1')).code, 0);
  const asked = await rollcall('drain', '10.0.0.1', '--region', 'eu-west-1');
  assert.match(asked.stderr, /^rollcall drain: [^\n]*ClusterNotFoundException[^\n]*\n$/);
});

test('an interrupted drain of several names those that it did not begin', async (t) => {
  const { roll, ecs, env, statuses } = await fleet(t, 3);
  await ecs.control('PUT', '/ecs/faults', { UpdateContainerInstancesState: 'hang' });
  const said = { stdout: '', stderr: '' };
  const stop = new AbortController();
  Object.assign(process.env, env);
  t.after(() => {
    for (const name of Object.keys(env)) delete process.env[name];
  });
  const ending = runProgram(['drain', '10.0.0.1', '10.0.0.2', '10.0.0.3', '--store', roll.url], {
    ...testContext(said, env),
    signal: stop.signal,
  });
  const taken = async () => (await roll.store.drainSlots.list(never)).length;
  await until('the first has its slot', 30_000, async () => (await taken()) === 1);
  stop.abort(new Error('ended by SIGINT'));
  assert.equal(await ending, 1);
  assert.match(
    said.stderr,
    /^rollcall drain: i-00000001 \(10\.0\.0\.1, demo\): ended by SIGINT; the slot [^\n]+; it was at 10\.0\.0\.1; not begun: 10\.0\.0\.2, 10\.0\.0\.3\n$/,
  );
  assert.deepEqual(await statuses(2, 3), ['ACTIVE', 'ACTIVE']);
});
