import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { runProgram } from '../../src/cli/program.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { openStore } from '../../src/store/open-store.ts';
import { runInProcess, testContext } from '../support/run-in-process.ts';
import { sampleRecord } from '../support/sample-record.ts';
import { openTestRoll } from '../support/test-roll.ts';

/** A roll of one node for each cluster, critical where the name ends in an exclamation mark. */
async function rollOf(t: TestContext, clusters: readonly (string | null)[]): Promise<string> {
  const name = t.name.replaceAll(/\W/g, '-');
  const { signal } = new AbortController();
  const config = { kind: 'memory', label: 'memory:', name } as const;
  const store = await openStore(config, { clock: systemClock, random: Math.random, signal, create: true });
  t.after(() => store.close());
  for (const [n, cluster] of clusters.entries()) {
    const id = `i-0000000${n}`;
    const record = sampleRecord({
      ec2InstanceId: id,
      privateIpAddress: `10.0.0.${n}`,
      cluster: cluster?.replace('!', '') ?? null,
    });
    const health = cluster?.endsWith('!') ? { ...record.health, status: 'critical' as const } : record.health;
    const registration = {
      instanceId: id,
      session: 's',
      since: record.registeredAt,
      ttlMs: 30_000,
      retentionMs: 90_000,
    };
    await store.register(registration, { ...record, health }, { takeover: true, signal });
  }
  return `memory:${name}`;
}

const nodes = (stdout: string) => (stdout.match(/i-\d{8}\b/g) ?? []).map((id) => id.at(-1)).join('');
const listed = async (store: string, ...args: string[]) => {
  const result = await runInProcess(['list', '--store', store, '--no-legend', '--fields=instance', ...args]);
  assert.equal(result.code, 0, result.stderr);
  return result;
};

test('clusters and health are chosen by lists, by repeating the flag, or both', async (t) => {
  const store = await rollOf(t, ['demo', 'demo-2!', 'other', null]);
  for (const args of [
    ['--cluster', 'demo,demo-2'],
    ['--cluster', 'demo', '--cluster', 'demo-2'],
    ['--cluster=demo-2, demo', '--cluster', 'demo'],
    ['--cluster', 'arn:aws:ecs:us-east-1:123456789012:cluster/demo', '--cluster', 'demo-2,demo'],
  ]) {
    const { stdout, stderr } = await listed(store, ...args);
    assert.equal(nodes(stdout), '01', args.join(' '));
    assert.equal(stderr, '');
  }
  assert.equal(nodes((await listed(store, '--health', 'critical,passing')).stdout), '0123');
  assert.equal(nodes((await listed(store, '--health', 'critical', '--health', 'warning')).stdout), '1');
  const env = { ROLLCALL_CLUSTER: 'demo,other' };
  const { stdout } = await runInProcess(['list', '--store', store, '--fields=instance'], { env });
  assert.equal(nodes(stdout), '02');
});

test('a cluster that no node is in is named, with those there are, and --all is no advice for it', async (t) => {
  const store = await rollOf(t, ['demo', 'demo-2']);
  const none = await listed(store, '--cluster', 'prod');
  assert.equal(none.stdout, '');
  assert.equal(none.stderr, 'no node is in cluster "prod"; clusters: demo, demo-2\n');
  const one = await listed(store, '--cluster', 'demo,prod');
  assert.equal(nodes(one.stdout), '0');
  assert.equal(one.stderr, 'no node is in cluster "prod"; clusters: demo, demo-2\n');
  const healthy = await listed(store, '--cluster', 'demo', '--health', 'critical');
  assert.equal(healthy.stderr, 'none of the 2 nodes on the roll matches; --all shows departed and lost nodes\n');
});

test('the hint for a roll of one node says so', async (t) => {
  const { stderr } = await listed(await rollOf(t, ['demo']), '--health', 'critical');
  assert.equal(stderr, 'the one node on the roll does not match; --all shows departed and lost nodes\n');
});

test('the clusters there are stay one line, however many', async (t) => {
  const store = await rollOf(t, Array.from({ length: 10 }, (_, n) => `c${n}`).slice(0, 10));
  const { stderr } = await listed(store, '--cluster', 'prod');
  assert.match(stderr, /^no node is in cluster "prod"; clusters: c0, c1, .*, c9\n$/);
});

test('a list without any cluster says so', async (t) => {
  const { stderr } = await listed(await rollOf(t, [null]), '--cluster', 'demo');
  assert.equal(stderr, 'no node is in cluster "demo"; there are no clusters\n');
});

test('an unknown health, cluster or column is refused', async () => {
  for (const [args, pattern] of [
    [['--health', 'ill'], /health "ill" is not known; allowed: passing, warning, critical/],
    [['--cluster', 'demo,'], /cluster has an empty value; set a value or remove it/],
    [['--cluster', 'de mo'], /cluster "de mo" is not the name or the ARN of a cluster/],
    [
      ['--fields', 'ip,nope'],
      /unknown column "nope" with --source store; use one of ip, instance, .*, cause, reason\n$/,
    ],
    [
      ['--source', 'ecs', '--fields', 'health'],
      /unknown column "health" with --source ecs; use one of ip, .*, registered\n$/,
    ],
  ] as const) {
    const { code, stderr } = await runInProcess(['list', ...args]);
    assert.equal(code, 2);
    assert.match(stderr, pattern);
  }
});

test('a wrong store URL is named with the flag or the variable that it came from', async () => {
  const flag = await runInProcess(['list', '--store', 'http://h'], { env: { ROLLCALL_STORE: 'etcd://h' } });
  assert.match(
    flag.stderr,
    /^rollcall list: --store: cannot read the store URL "http:\/\/h": unknown scheme "http"; use/,
  );
  const variable = await runInProcess(['show', 'i-12345678'], { env: { ROLLCALL_STORE: 'etcd://u:secret@h:x' } });
  assert.match(variable.stderr, /^rollcall show: ROLLCALL_STORE: cannot read the store URL "etcd:\/\/\*\*\*@h:x": /);
  assert.equal(variable.code, 2);
});

test('ids are sorted as text, and a flag takes its value behind = as kubectl has it', async (t) => {
  const roll = await openTestRoll(t);
  for (const id of ['i-8a000000', 'i-59e00000', 'i-00000059'])
    await roll.register(1, { ec2InstanceId: id, labels: { role: 'web' } });
  const args = ['list', '--store', roll.url, '--sort-by', 'instance', '-o=name', '-l=role=web'];
  assert.deepEqual(await runInProcess(args), { code: 0, stdout: 'i-00000059\ni-59e00000\ni-8a000000\n', stderr: '' });
});

test('a list is sorted by columns: numbers as numbers, the worst health first, what is unknown last', async (t) => {
  const store = await rollOf(t, ['demo10', 'demo9!', null, 'demo9']);
  assert.equal(nodes((await listed(store, '--sort-by', 'cluster')).stdout), '1302');
  assert.equal(nodes((await listed(store, '--sort-by', 'health,cluster')).stdout), '1302');
  assert.equal(
    nodes((await listed(store, '--sort-by', 'HEALTH', '-o', 'wide', '--fields', 'instance,reason')).stdout),
    '1023',
  );
  const unknown = await runInProcess(['list', '--sort-by', 'ip,age']);
  assert.equal(unknown.code, 2);
  assert.match(
    unknown.stderr,
    /^rollcall list: --sort-by: unknown column "age" with --source store; use one of ip, instance, /,
  );
});

test('-o name prints the ids alone, one a line', async (t) => {
  const store = await rollOf(t, ['demo', 'other!']);
  const env = { ROLLCALL_FIELDS: 'ip' };
  const { stdout } = await runInProcess(['list', '--store', store, '-o', 'name', '--sort-by', 'health'], { env });
  assert.equal(stdout, 'i-00000001\ni-00000000\n');
  assert.equal((await runInProcess(['show', '--store', store, '-o', 'name', '10.0.0.1', 'i-00000000'])).stdout, stdout);
  const idle = await runInProcess(['list', '-o', 'name', '--fields', 'ip']);
  assert.match(idle.stderr, /--fields has no effect with -o name, which prints the ids alone; leave it out/);
});

test('a list says that it ends soon, once, when the roll is being read; --watch does not', async (t) => {
  const store = await rollOf(t, ['a']);
  for (const args of [[], ['-o', 'json'], ['--fields', 'dns']]) {
    const said = { stdout: '', stderr: '' };
    const seen: string[] = [];
    const endsSoon = () => void seen.push(said.stdout);
    assert.equal(await runProgram(['list', '--store', store, ...args], { ...testContext(said), endsSoon }), 0);
    assert.deepEqual(seen, [''], args.join(' '));
    assert.notEqual(said.stdout, '');
  }
  const ending = new AbortController();
  const context = {
    ...testContext({ stdout: '', stderr: '' }),
    endsSoon: () => assert.fail('it does not end'),
    stdout: async () => ending.abort(new Error('seen')),
    signal: ending.signal,
  };
  assert.equal(await runProgram(['list', '--watch', '--store', store], context), 1);
});
