import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { storeConfig } from '../../src/config/store-flags.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { openStore } from '../../src/store/open-store.ts';
import { sampleArn, sampleEntry } from '../placement/sample-instance.ts';
import { rollcall, startRollcall } from '../support/rollcall-process.ts';

const NEVER = new AbortController().signal;

interface Call {
  readonly action: string;
  readonly input: Record<string, unknown>;
}

/** The ECS endpoint's answer to an action: a body, or an error with AWS's code. */
type Answer = object | { readonly error: string; readonly message: string };

/** An AWS JSON 1.1 endpoint. It answers from `answers` and records the requests. */
async function startEcs(t: TestContext, answers: Record<string, (input: Call['input']) => Answer>) {
  const calls: Call[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const action = String(request.headers['x-amz-target']).split('.')[1] ?? '';
    const input = JSON.parse(text);
    calls.push({ action, input });
    const answer = answers[action]?.(input) ?? { error: 'UnknownOperationException', message: action };
    const failed = 'error' in answer;
    const body = failed ? { __type: answer.error, message: answer.message } : answer;
    response.writeHead(failed ? 400 : 200, { 'content-type': 'application/x-amz-json-1.1' });
    response.end(JSON.stringify(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const env = {
    AWS_ENDPOINT_URL_ECS: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
    AWS_SECRET_ACCESS_KEY: 'secret',
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  return { env, count: (action: string) => calls.filter((call) => call.action === action).length, calls };
}

function wireInstance(n: number, memoryMiB: number, overrides: object = {}) {
  const resource = (name: string, integerValue: number) => ({ name, type: 'INTEGER', integerValue });
  return {
    containerInstanceArn: sampleArn(n),
    ec2InstanceId: sampleEntry(n).record.ec2InstanceId,
    status: 'ACTIVE',
    agentConnected: true,
    runningTasksCount: 0,
    pendingTasksCount: 0,
    registeredAt: 1_767_225_600.123,
    remainingResources: [
      resource('CPU', 2_048),
      resource('MEMORY', memoryMiB),
      { name: 'PORTS', type: 'STRINGSET', stringSetValue: ['22', '51678', ...(n === 3 ? ['8080'] : [])] },
      { name: 'PORTS_UDP', type: 'STRINGSET', stringSetValue: [] },
    ],
    attributes: [],
    ...overrides,
  };
}

/** A roll with nodes 1 to 4 and an ECS with 1 to 5: node 4 is critical, node 5 has never been on the roll. */
async function startWorld(t: TestContext, more: Parameters<typeof startEcs>[1] = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-place-'));
  const url = `sqlite:${dir}/roll.db`;
  const config = storeConfig({ store: url });
  const store = await openStore(config, { clock: systemClock, random: Math.random, create: true, signal: NEVER });
  t.after(async () => {
    await store.close();
    await rm(dir, { recursive: true });
  });
  const critical: NodeRecord['health'] = {
    status: 'critical',
    since: '2026-01-01T00:00:00.000Z',
    checks: [{ name: 'disk', status: 'critical', reason: '1% is free', since: '2026-01-01T00:00:00.000Z' }],
  };
  for (const n of [1, 2, 3, 4]) {
    const { record } = sampleEntry(n, n === 4 ? { health: critical } : {});
    const registration = {
      instanceId: record.ec2InstanceId,
      session: 's',
      since: '2026-01-01T00:00:00.000Z',
      ttlMs: 120_000,
      retentionMs: 240_000,
    };
    assert.equal((await store.register(registration, record, { takeover: true, signal: NEVER })).kind, 'registered');
  }
  const sizes = [4_096, 1_024, 2_048, 8_192, 8_192];
  const instances = sizes.map((memoryMiB, index) => wireInstance(index + 1, memoryMiB));
  const ecs = await startEcs(t, {
    // Two pages, so that a reader of one page would fail.
    ListContainerInstances: ({ nextToken }) =>
      nextToken === 'more'
        ? { containerInstanceArns: instances.slice(2).map((each) => each.containerInstanceArn) }
        : { containerInstanceArns: instances.slice(0, 2).map((each) => each.containerInstanceArn), nextToken: 'more' },
    DescribeContainerInstances: ({ containerInstances }) => ({
      containerInstances: instances.filter((each) =>
        (containerInstances as string[]).includes(each.containerInstanceArn),
      ),
      failures: [],
    }),
    DescribeTaskDefinition: () => ({
      taskDefinition: {
        networkMode: 'bridge',
        containerDefinitions: [
          {
            name: 'web',
            cpu: 256,
            memory: 512,
            memoryReservation: 300,
            portMappings: [{ containerPort: 80, hostPort: 8080 }],
          },
          { name: 'log', cpu: 0, memory: 100 },
        ],
      },
    }),
    StartTask: ({ containerInstances }) => ({
      tasks: (containerInstances as string[]).map((containerInstanceArn, index) => ({
        taskArn: `arn:aws:ecs:us-east-1:123456789012:task/demo/${index}`,
        containerInstanceArn,
      })),
      failures: [],
    }),
    ...more,
  });
  const place = (...args: string[]) =>
    rollcall(['place', ...args], { ...ecs.env, ROLLCALL_STORE: url, ROLLCALL_CLUSTER: 'demo' });
  return { ...ecs, place, url };
}

const SIZE = ['--cpu', '256', '--memory', '512'];

test('place prints one ARN per task for start-task and starts nothing', async (t) => {
  const { place, count } = await startWorld(t);
  const one = await place(...SIZE);
  assert.deepEqual(one, { code: 0, stdout: `${sampleArn(2)}\n`, stderr: '' });
  const spread = await place(...SIZE, '--count', '3', '--strategy', 'spread', '--why');
  assert.equal(spread.stdout, `${sampleArn(1)}\n${sampleArn(3)}\n${sampleArn(2)}\n`);
  assert.deepEqual(spread.stderr.trimEnd().split('\n').sort(), [
    'passed over i-00000004 10.0.0.4: health critical: disk 1% is free',
    'passed over i-00000005: not on the roll',
  ]);
  const json = await place(...SIZE, '--ports', '8080,53/udp', '--why', '-o', 'json', '--count', '2');
  const body = JSON.parse(json.stdout);
  assert.deepEqual(
    body.placements.map((each: { ec2InstanceId: string }) => each.ec2InstanceId),
    ['i-00000002', 'i-00000001'],
  );
  assert.deepEqual(
    body.passedOver.map((each: { ec2InstanceId: string; test: string; reason: string }) => [
      each.ec2InstanceId,
      each.test,
      each.reason,
    ]),
    [
      ['i-00000004', 'health', 'health critical: disk 1% is free'],
      ['i-00000005', 'roll', 'not on the roll'],
      ['i-00000003', 'room', 'port 8080 is in use'],
    ],
  );
  assert.equal(json.stderr, '');
  const lines = await place(...SIZE, '--why', '-o', 'ndjson');
  assert.equal(JSON.parse(lines.stdout).ec2InstanceId, 'i-00000002');
  assert.match(lines.stderr, /passed over i-00000005: not on the roll/);
  assert.equal(count('StartTask'), 0);
});

test('--start takes the needs from the task definition, starts one task per ARN and prints each', async (t) => {
  const { place, calls, count } = await startWorld(t);
  const { code, stdout, stderr } = await place('--start', 'web:7', '--count', '2', '--why');
  assert.equal(code, 0, stderr);
  assert.match(stderr, /passed over i-00000003 10\.0\.0\.3: port 8080 is in use/);
  const task = 'arn:aws:ecs:us-east-1:123456789012:task/demo';
  assert.equal(stdout, `${task}/0 ${sampleArn(2)}\n${task}/1 ${sampleArn(1)}\n`);
  assert.equal(count('StartTask'), 1);
  assert.deepEqual(calls.find(({ action }) => action === 'StartTask')?.input, {
    cluster: 'demo',
    taskDefinition: 'web:7',
    containerInstances: [sampleArn(2), sampleArn(1)],
  });
});

test('a cluster given by its ARN is sent to ECS as that ARN', async (t) => {
  const { place, calls } = await startWorld(t);
  const arn = 'arn:aws:ecs:eu-west-1:999999999999:cluster/demo';
  const { code, stderr } = await place('--cluster', arn, '--start', 'web:7');
  assert.equal(code, 0, stderr);
  const asked = calls.filter(({ action }) => action !== 'DescribeTaskDefinition');
  assert.deepEqual([...new Set(asked.map(({ input }) => input['cluster']))], [arn]);
  assert.ok(asked.some(({ action }) => action === 'StartTask'));
});

test('an instance that ECS refuses is named, the other tasks start, and nothing is retried', async (t) => {
  const { place, count } = await startWorld(t, {
    StartTask: () => ({
      tasks: [{ taskArn: 'arn:aws:ecs:us-east-1:123456789012:task/demo/0', containerInstanceArn: sampleArn(2) }],
      failures: [{ arn: sampleArn(1), reason: 'RESOURCE:MEMORY' }],
    }),
  });
  const { code, stdout, stderr } = await place('--start', 'web:7', '--count', '2');
  assert.equal(code, 1);
  assert.match(stdout, /^arn:\S+\/0 arn:\S+0002\n$/);
  assert.match(stderr, /^rollcall place: start web:7: 1 of 2 tasks started; refused: 0+1 RESOURCE:MEMORY\n$/);
  assert.equal(count('StartTask'), 1);
});

test('without a reader of stdout, what changes ECS goes on to its end, and its status says how it went', async (t) => {
  const { env, url, calls, count } = await startWorld(t, {
    UpdateContainerInstancesState: ({ containerInstances, status }) => ({
      containerInstances: (containerInstances as string[]).map((arn) => ({ containerInstanceArn: arn, status })),
      failures: [],
    }),
    StartTask: () => ({
      tasks: [{ taskArn: 'arn:aws:ecs:us-east-1:123456789012:task/demo/0', containerInstanceArn: sampleArn(2) }],
      failures: [{ arn: sampleArn(1), reason: 'RESOURCE:MEMORY' }],
    }),
  });
  const unread = async (...args: string[]) => {
    const { child, ended, stderr } = startRollcall(t, args, { ...env, ROLLCALL_STORE: url, ROLLCALL_CLUSTER: 'demo' });
    child.stdout?.destroy();
    return { code: (await ended).code, stderr: stderr() };
  };
  const nodes = [1, 2, 3].map((n) => sampleEntry(n).record.ec2InstanceId);
  assert.deepEqual(await unread('drain', '--force', ...nodes), { code: 0, stderr: '' });
  assert.equal(count('UpdateContainerInstancesState'), 3);
  assert.ok(calls.every(({ action, input }) => !action.startsWith('Update') || input['status'] === 'DRAINING'));
  assert.equal((await unread('undrain', '--dry-run', ...nodes, 'i-0123456789')).code, 1);
  assert.equal((await unread('place', '--start', 'web:7', '--count', '2')).code, 1);
  assert.equal(count('StartTask'), 1);
  assert.deepEqual(await unread('list'), { code: 0, stderr: '' });
});

test('with incomplete knowledge, or if not all tasks fit, nothing is started: one line and status 1', async (t) => {
  const fails = (error: string, message: string) => () => ({ error, message });
  const cases: [name: string, args: string[], said: RegExp, more?: Parameters<typeof startEcs>[1]][] = [
    ['the store is away', ['--store', 'etcd://127.0.0.1:1'], /etcd.*connection refused/],
    ['no store', ['--store', 'sqlite:/nonexistent/roll.db'], /nonexistent/],
    [
      'a page fails',
      [],
      /AccessDenied/,
      {
        ListContainerInstances: ({ nextToken }) =>
          nextToken
            ? fails('AccessDeniedException', 'not authorized')()
            : { containerInstanceArns: [sampleArn(1)], nextToken: 'more' },
      },
    ],
    ['no description', [], /AccessDenied/, { DescribeContainerInstances: fails('AccessDeniedException', 'no') }],
    [
      'no such cluster',
      [],
      /ClusterNotFoundException/,
      { ListContainerInstances: fails('ClusterNotFoundException', 'Cluster not found.') },
    ],
    [
      'no such definition',
      [],
      /ClientException/,
      { DescribeTaskDefinition: fails('ClientException', 'Unable to describe task definition.') },
    ],
    [
      'an empty cluster',
      [],
      /no room in demo for a task of .*: none of its 4 nodes is suitable; closest: i-0+1 10\.0\.0\.1: ECS has no container instance for it in demo/,
      { ListContainerInstances: () => ({ containerInstanceArns: [] }) },
    ],
    [
      'not all fit',
      ['--count', '3'],
      /no room in demo for 3 tasks, each of 256 CPU units, 400 MiB and port 8080: only 2 would fit; closest: i-0+\d 10\.0\.0\.\d: .*port 8080 is in use; --why explains each node/,
    ],
    [
      'none fits',
      ['--memory', '5000'],
      /no room in demo for a task of .*: none of its 5 nodes is suitable; closest: i-0+1 10\.0\.0\.1: memory: needs 5000 MiB, has 4096 left/,
    ],
  ];
  for (const [name, args, said, more] of cases) {
    await t.test(name, async (t) => {
      const { place, count } = await startWorld(t, more);
      const { code, stdout, stderr } = await place('--start', 'web:7', ...args);
      assert.deepEqual([code, stdout], [1, ''], stderr);
      assert.match(stderr, said);
      assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
      assert.equal(count('StartTask'), 0);
    });
  }
});

test('wrong usage gives one line and status 2, without a call to ECS', async (t) => {
  const { place, calls, url } = await startWorld(t);
  const cases: [args: string[], said: RegExp][] = [
    [[], /--cpu is missing: give what a task takes/],
    [['--cpu', '256'], /--memory is missing/],
    [[...SIZE, '--memory', '0'], /It must be a whole number from 1/],
    [[...SIZE, '--count', '0'], /from 1 to 1000/],
    [[...SIZE, '--strategy', 'pack'], /Allowed choices are binpack, spread, random/],
    [[...SIZE, '--constraint', 'role=node'], /Position 5: expected == or !=/],
    [[...SIZE, '--ports', '99999'], /"99999" is not PORT/],
    [[...SIZE, '--cluster', 'a b'], /Write the name or ARN of a cluster/],
  ];
  for (const [args, said] of cases) {
    const { code, stdout, stderr } = await place(...args);
    assert.deepEqual([code, stdout], [2, ''], stderr);
    assert.match(stderr, said);
    assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
  }
  const without = await rollcall(['place', ...SIZE, '--store', url]);
  assert.equal(without.code, 2);
  assert.match(without.stderr, /^rollcall place: --cluster is missing/);
  assert.deepEqual(calls, []);
});

test('--start passes over nodes that lack what the definition requires: all tasks or none', async (t) => {
  const awslogs = { name: 'com.amazonaws.ecs.capability.logging-driver.awslogs' };
  const containers = [{ name: 'web', cpu: 0, memory: 100, resourceRequirements: [{ type: 'GPU', value: '1' }] }];
  const gpu = { name: 'GPU', type: 'STRINGSET', stringSetValue: ['GPU-1'] };
  const instances = [
    wireInstance(1, 4_096, { attributes: [awslogs], registeredResources: [gpu] }),
    wireInstance(2, 4_096, { attributes: [awslogs] }),
    wireInstance(3, 4_096, { registeredResources: [gpu] }),
  ];
  const { place, count } = await startWorld(t, {
    ListContainerInstances: () => ({ containerInstanceArns: instances.map((each) => each.containerInstanceArn) }),
    DescribeContainerInstances: () => ({ containerInstances: instances, failures: [] }),
    DescribeTaskDefinition: () => ({
      taskDefinition: { requiresAttributes: [awslogs], containerDefinitions: containers },
    }),
  });
  const one = await place('--start', 'web', '--why');
  assert.equal(one.code, 0, one.stderr);
  assert.match(one.stdout, new RegExp(` ${sampleArn(1)}\n$`));
  assert.match(one.stderr, /i-00000002 10.0.0.2: GPUs: the task definition needs 1, the instance has 0$/m);
  assert.match(
    one.stderr,
    /i-00000003 10.0.0.3: lacks the attribute com\S+awslogs that the task definition requires$/m,
  );
  const two = await place('--start', 'web', '--count', '2');
  assert.equal(two.code, 1);
  assert.match(two.stderr, /: only 1 would fit; closest: i-00000001 \S+ full after 1 task: no GPU left;/);
  assert.equal(count('StartTask'), 1);
});

test('--start of an awsvpc definition is refused in one line before the cluster is read', async (t) => {
  const { place, calls } = await startWorld(t, {
    DescribeTaskDefinition: () => ({
      taskDefinition: { networkMode: 'awsvpc', containerDefinitions: [{ name: 'web', cpu: 0, memory: 100 }] },
    }),
  });
  const { code, stdout, stderr } = await place('--start', 'web:7');
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(
    stderr,
    /^rollcall place: start web:7: its network mode is awsvpc, .*aws ecs start-task --network-con.*\n$/,
  );
  assert.deepEqual(
    calls.map(({ action }) => action),
    ['DescribeTaskDefinition'],
  );
});
