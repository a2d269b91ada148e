import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type ContainerInstance,
  CreateClusterCommand,
  DeleteAttributesCommand,
  DescribeClustersCommand,
  DescribeContainerInstancesCommand,
  DescribeTaskDefinitionCommand,
  DescribeTasksCommand,
  ECSClient,
  type ECSClientConfig,
  ListAttributesCommand,
  ListClustersCommand,
  ListContainerInstancesCommand,
  ListTasksCommand,
  PutAttributesCommand,
  RegisterTaskDefinitionCommand,
  StartTaskCommand,
  StopTaskCommand,
  UpdateContainerInstancesStateCommand,
} from '@aws-sdk/client-ecs';
import { fromInstanceMetadata } from '@aws-sdk/credential-providers';
import { SIMULATED_KEY } from '../../../src/simulator/ecs/signature.ts';
import type { SimulatorOptions } from '../../../src/simulator/simulator.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';
import { startEcsSimulation } from '../../support/start-ecs-simulation.ts';

async function start(t: TestContext, options: Partial<SimulatorOptions> = {}) {
  const simulation = await startEcsSimulation(t, options);
  const { endpoint, control } = simulation;
  /** One attempt, so that the test sees the first answer. */
  const client = (config: ECSClientConfig = {}) => {
    const made = new ECSClient({
      endpoint,
      region: 'us-east-1',
      credentials: SIMULATED_KEY,
      maxAttempts: 1,
      ...config,
    });
    t.after(() => made.destroy());
    return made;
  };
  const ecs = client();
  const arns = async (cluster = 'demo') =>
    (await ecs.send(new ListContainerInstancesCommand({ cluster }))).containerInstanceArns ?? [];
  const describe = async (containerInstances: string[], cluster = 'demo') =>
    ecs.send(new DescribeContainerInstancesCommand({ cluster, containerInstances }));
  return {
    ...simulation,
    ecs,
    client,
    arns,
    describe,
    fault: (faults: object) => control('PUT', '/ecs/faults', faults),
  };
}

function attribute(instance: ContainerInstance | undefined, name: string): string | undefined {
  return instance?.attributes?.find((one) => one.name === name)?.value;
}

test('250 nodes are in three clusters in turn; pages of 100 have each once, and descriptions match the nodes', async (t) => {
  const { ecs, simulator } = await start(t, { nodes: 250, clusters: 3 });
  const { clusterArns = [] } = await ecs.send(new ListClustersCommand({}));
  assert.deepEqual(
    clusterArns.map((arn) => arn.split('/').at(-1)),
    ['demo', 'demo-2', 'demo-3'],
  );
  const { clusters = [] } = await ecs.send(new DescribeClustersCommand({ clusters: clusterArns }));
  assert.deepEqual(
    clusters.map((cluster) => cluster.registeredContainerInstancesCount),
    [84, 83, 83],
  );
  const seen = new Map<string | undefined, string | undefined>();
  for (const cluster of clusterArns) {
    let nextToken: string | undefined;
    do {
      const input = { cluster, maxResults: 20, ...(nextToken === undefined ? {} : { nextToken }) };
      const listed = await ecs.send(new ListContainerInstancesCommand(input));
      const described = await ecs.send(
        new DescribeContainerInstancesCommand({ cluster, containerInstances: listed.containerInstanceArns }),
      );
      assert.deepEqual(described.failures, []);
      for (const one of described.containerInstances ?? []) seen.set(one.ec2InstanceId, one.containerInstanceArn);
      nextToken = listed.nextToken;
    } while (nextToken !== undefined);
  }
  assert.equal(seen.size, 250);
  assert.deepEqual(new Set(seen.keys()), new Set(simulator.nodes.map(({ node }) => node.instanceId)));
});

test('an instance is described as in ECS', async (t) => {
  const { arns, describe } = await start(t);
  const [arn = ''] = await arns();
  const { containerInstances: [one] = [] } = await describe([arn]);
  assert.equal(one?.containerInstanceArn, arn);
  assert.equal(one.status, 'ACTIVE');
  assert.equal(one.agentConnected, true);
  assert.ok(one.registeredAt instanceof Date && Math.abs(one.registeredAt.getTime() - Date.now()) < 600_000);
  assert.deepEqual(one.versionInfo?.agentVersion, '1.70.0');
  const resource = (name: string) => one.remainingResources?.find((resource) => resource.name === name);
  assert.equal(resource('CPU')?.integerValue, 2_048);
  assert.equal(resource('MEMORY')?.integerValue, 7_764);
  assert.deepEqual(resource('PORTS')?.stringSetValue, ['22', '2375', '2376', '51678', '51679']);
  assert.match(attribute(one, 'ecs.availability-zone') ?? '', /^us-east-1[abc]$/);
});

test('an unknown name is a failure or an exception, and limits are AWS’s', async (t) => {
  const { ecs, arns, describe } = await start(t);
  const [arn = ''] = await arns();
  const gone = arn.replace(/.{4}$/, 'ffff');
  assert.deepEqual((await describe([gone, arn])).failures, [{ arn: gone, reason: 'MISSING' }]);
  await assert.rejects(arns('nowhere'), { name: 'ClusterNotFoundException', message: 'Cluster not found.' });
  const many = { name: 'InvalidParameterException', message: 'instanceIds can have at most 100 items.' };
  await assert.rejects(describe(Array(101).fill(arn)), many);
  await assert.rejects(describe([]), { name: 'InvalidParameterException' });
  const list = (input: object) => ecs.send(new ListContainerInstancesCommand({ cluster: 'demo', ...input }));
  await assert.rejects(list({ maxResults: 101 }), { name: 'InvalidParameterException' });
  await assert.rejects(list({ nextToken: 'x' }), { name: 'InvalidParameterException', message: 'Invalid token.' });
  const { nextToken } = await list({ maxResults: 1 });
  await assert.rejects(list({ status: 'DRAINING', nextToken }), { name: 'InvalidParameterException' });
  const unknown = ecs.send(new DescribeTaskDefinitionCommand({ taskDefinition: 'web' }));
  await assert.rejects(unknown, { name: 'ClientException', message: 'Unable to describe task definition.' });
});

test('only the simulated key with a valid signature is accepted, and another region has no clusters', async (t) => {
  const { client } = await start(t);
  const ask = (config: ECSClientConfig) =>
    client(config).send(new ListContainerInstancesCommand({ cluster: 'demo', maxResults: 1 }));
  await ask({});
  await ask({ credentials: { ...SIMULATED_KEY, sessionToken: 'a session' } });
  const stranger = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'x' };
  await assert.rejects(ask({ credentials: stranger }), { name: 'UnrecognizedClientException' });
  await assert.rejects(ask({ credentials: { ...SIMULATED_KEY, secretAccessKey: 'x' } }), {
    name: 'InvalidSignatureException',
  });
  await assert.rejects(ask({ region: 'eu-west-1' }), { name: 'ClusterNotFoundException' });
  const byArn = new ListContainerInstancesCommand({ cluster: 'arn:aws:ecs:us-east-1:123456789012:cluster/demo' });
  assert.equal((await client().send(byArn)).containerInstanceArns?.length, 3);
  await assert.rejects(client({ region: 'eu-west-1' }).send(byArn), { name: 'ClusterNotFoundException' });
  assert.deepEqual((await client({ region: 'eu-west-1' }).send(new ListClustersCommand({}))).clusterArns, []);
});

test('the role in a node’s EC2 metadata is accepted by ECS', async (t) => {
  const { client, simulator, endpoint } = await start(t);
  process.env['AWS_EC2_METADATA_SERVICE_ENDPOINT'] = simulator.nodes[0]?.imdsEndpoint ?? '';
  t.after(() => {
    delete process.env['AWS_EC2_METADATA_SERVICE_ENDPOINT'];
  });
  const ecs = client({ endpoint, credentials: fromInstanceMetadata() });
  assert.equal((await ecs.send(new ListClustersCommand({}))).clusterArns?.length, 1);
});

test('at most ten instances are drained or activated at once, and only ACTIVE or DRAINING ones', async (t) => {
  const { ecs, arns, describe, control } = await start(t);
  const [first = '', second = ''] = await arns();
  const set = (status: 'ACTIVE' | 'DRAINING', containerInstances: string[]) =>
    ecs.send(new UpdateContainerInstancesStateCommand({ cluster: 'demo', status, containerInstances }));
  await control('PUT', `/ecs/instances/${second.split('/').at(-1)}`, { status: 'REGISTERING' });
  const { containerInstances = [], failures } = await set('DRAINING', [first, second]);
  assert.deepEqual(
    containerInstances.map(({ status }) => status),
    ['DRAINING'],
  );
  assert.deepEqual(failures, [{ arn: second, reason: 'INACTIVE' }]);
  const draining = await ecs.send(new ListContainerInstancesCommand({ cluster: 'demo', status: 'DRAINING' }));
  assert.deepEqual(draining.containerInstanceArns, [first]);
  await set('ACTIVE', [first]);
  assert.equal((await describe([first])).containerInstances?.[0]?.status, 'ACTIVE');
  await assert.rejects(set('DRAINING', Array(11).fill(first)), {
    name: 'InvalidParameterException',
    message: 'instanceIds can have at most 10 items.',
  });
});

test('attributes are put, replaced, listed and deleted; ten at most', async (t) => {
  const { ecs, arns } = await start(t);
  const [arn = ''] = await arns();
  const put = (...names: string[]) => {
    const attributes = names.map((name) => ({ name, value: 'a b', targetId: arn }));
    return ecs.send(new PutAttributesCommand({ cluster: 'demo', attributes }));
  };
  await put('rollcall.health');
  const attributes = [{ name: 'rollcall.health', value: 'passing', targetId: arn }];
  await ecs.send(new PutAttributesCommand({ cluster: 'demo', attributes }));
  const list = async () => {
    const input = { cluster: 'demo', targetType: 'container-instance', attributeName: 'rollcall.health' } as const;
    return (await ecs.send(new ListAttributesCommand(input))).attributes;
  };
  assert.deepEqual(await list(), attributes);
  const nine = Array.from({ length: 9 }, (_, index) => `a${index}`);
  await put(...nine);
  await assert.rejects(put('one-more'), { name: 'AttributeLimitExceededException' });
  await assert.rejects(put(...nine, 'x', 'y'), { name: 'InvalidParameterException' });
  await assert.rejects(put('no spaces'), { name: 'InvalidParameterException' });
  const removed = { cluster: 'demo', attributes: [{ name: 'rollcall.health', targetId: arn }] };
  await ecs.send(new DeleteAttributesCommand(removed));
  await ecs.send(new DeleteAttributesCommand(removed));
  assert.deepEqual(await list(), []);
  const unregistered = { name: 'x', targetId: arn.replace(/.{4}$/, 'ffff') };
  await assert.rejects(ecs.send(new PutAttributesCommand({ cluster: 'demo', attributes: [unregistered] })), {
    name: 'TargetNotFoundException',
  });
});

test('tasks use room and free it; without room, connection or status a start is a failure', async (t) => {
  const { ecs, arns, describe, control } = await start(t, { nodes: 4 });
  const [first = '', second = '', third = '', fourth = ''] = await arns();
  const web = {
    name: 'web',
    image: 'web',
    cpu: 1_024,
    memory: 3_000,
    portMappings: [{ containerPort: 80, hostPort: 80 }],
  };
  const register = (family: string, container: object) =>
    ecs.send(new RegisterTaskDefinitionCommand({ family, containerDefinitions: [{ ...web, ...container }] }));
  await register('web', {});
  await register('big', { memory: 5_000, portMappings: [] });
  await register('wide', { cpu: 2_000, portMappings: [] });
  const { taskDefinition } = await ecs.send(new DescribeTaskDefinitionCommand({ taskDefinition: 'web:1' }));
  assert.equal(taskDefinition?.containerDefinitions?.[0]?.memory, 3_000);
  await control('PUT', `/ecs/instances/${second.split('/').at(-1)}`, { agentConnected: false });
  await control('PUT', `/ecs/instances/${third.split('/').at(-1)}`, { status: 'DRAINING' });
  const run = async (family: string, ...containerInstances: string[]) =>
    ecs.send(new StartTaskCommand({ cluster: 'demo', taskDefinition: family, containerInstances }));
  const { tasks: [task] = [], failures } = await run('web', first, second, third);
  assert.equal(task?.containerInstanceArn, first);
  assert.deepEqual(failures, [
    { arn: second, reason: 'AGENT' },
    { arn: third, reason: 'INACTIVE' },
  ]);
  const reason = async (family: string) => (await run(family, first)).failures?.[0]?.reason;
  assert.equal(await reason('web'), 'RESOURCE:PORTS');
  assert.equal(await reason('big'), 'RESOURCE:MEMORY');
  assert.equal(await reason('wide'), 'RESOURCE:CPU');
  assert.equal((await describe([first])).containerInstances?.[0]?.runningTasksCount, 1);
  assert.deepEqual((await run('web', fourth, fourth)).failures, [{ arn: fourth, reason: 'RESOURCE:PORTS' }]);

  const listed = await ecs.send(new ListTasksCommand({ cluster: 'demo', containerInstance: first }));
  assert.deepEqual(listed.taskArns, [task.taskArn]);
  const described = await ecs.send(new DescribeTasksCommand({ cluster: 'demo', tasks: listed.taskArns }));
  assert.equal(described.tasks?.[0]?.lastStatus, 'RUNNING');
  await ecs.send(new StopTaskCommand({ cluster: 'demo', task: task.taskArn }));
  assert.deepEqual((await run('web', first)).failures, []);

  await assert.rejects(run('nothing', first), { name: 'ClientException', message: 'TaskDefinition not found.' });
  await assert.rejects(run('web', ...Array(11).fill(first)), { name: 'InvalidParameterException' });
});

test('after a wiped checkpoint the old instance is disconnected, and the new one is shown after the delay', async (t) => {
  const clock = simulatedClock();
  const { arns, describe, simulator, control } = await start(t, { nodes: 1, clock });
  await control('PUT', '/ecs/settings', { registrationDelayMs: 5_000 });
  const [old = ''] = await arns();
  await simulator.restartAgent(simulator.nodes[0]?.node.instanceId ?? '', { wipeCheckpoint: true });
  assert.deepEqual(await arns(), [old]);
  await clock.advance(5_000);
  const both = await arns();
  assert.equal(both.length, 2);
  const { containerInstances = [] } = await describe(both);
  for (const one of containerInstances) assert.equal(one.agentConnected, one.containerInstanceArn !== old);
  assert.equal(new Set(containerInstances.map((one) => one.ec2InstanceId)).size, 1);
});

test('an ecs-agent that is down is disconnected, and connected again after its restart', async (t) => {
  const { arns, describe, simulator } = await start(t, { nodes: 1 });
  const id = simulator.nodes[0]?.node.instanceId ?? '';
  const connected = async () => (await describe(await arns())).containerInstances?.[0]?.agentConnected;
  await simulator.setFault(id, { introspection: 'refuse' });
  assert.equal(await connected(), false);
  await simulator.setFault(id, { introspection: 'none' });
  assert.equal(await connected(), true);
});

test('faults refuse requests like AWS, for one operation or all, for some requests or a share', async (t) => {
  const { ecs, arns, fault, client } = await start(t);
  await fault({ ListContainerInstances: { fault: 'throttle', times: 2 } });
  await ecs.send(new ListClustersCommand({}));
  for (let round = 0; round < 2; round += 1) {
    await assert.rejects(arns(), { name: 'ThrottlingException', message: 'Rate exceeded' });
  }
  assert.equal((await arns()).length, 3);
  await fault({ ListContainerInstances: { fault: 'throttle', times: 2 } });
  const patient = client({ maxAttempts: 3 });
  assert.equal((await patient.send(new ListContainerInstancesCommand({ cluster: 'demo' }))).$metadata.attempts, 3);

  await fault({ all: 'deny' });
  await assert.rejects(arns(), {
    name: 'AccessDeniedException',
    message:
      'User: arn:aws:iam::123456789012:user/simulated is not authorized to perform: ecs:ListContainerInstances on resource: arn:aws:ecs:us-east-1:123456789012:cluster/demo because no identity-based policy allows the ecs:ListContainerInstances action',
  });
  await fault({ all: 'expire' });
  await assert.rejects(arns(), { name: 'ExpiredTokenException' });
  await fault({ all: { fault: 'error500', share: 0.5 } });
  const outcomes: boolean[] = [];
  for (let round = 0; round < 4; round += 1)
    outcomes.push(
      await arns().then(
        () => true,
        () => false,
      ),
    );
  assert.deepEqual(outcomes, [true, false, true, false]);
  await fault({ all: 'none' });
  await arns();
});

test('faults make answers late, cut off, invalid or missing', async (t) => {
  const clock = simulatedClock();
  const { arns, fault, control } = await start(t, { clock });
  await fault({ all: 'garbage' });
  await assert.rejects(arns(), { name: 'SyntaxError' });
  await fault({ all: 'cut' });
  await assert.rejects(arns(), (error: Error & { code?: string }) =>
    /aborted|reset|terminated/i.test(`${error.message} ${error.code}`),
  );
  await fault({ all: { fault: 'slow', delayMs: 20_000 } });
  const late = arns();
  while (clock.sleepers() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await clock.advance(20_000);
  assert.equal((await late).length, 3);
  await fault({ all: 'hang' });
  const asked = async () => JSON.stringify((await control('GET', '/ecs/requests')) as object);
  const before = await asked();
  const never = arns();
  const broken = assert.rejects(never);
  while ((await asked()) === before) await new Promise((resolve) => setTimeout(resolve, 5));
  await fault({ all: 'none' });
  await broken;
});

test('the control API makes ghosts, strays and mismatches', async (t) => {
  const { arns, describe, control, simulator, ecs } = await start(t);
  const [first, second] = simulator.nodes.map(({ node }) => node.instanceId);
  const registeredAt = '2026-01-01T00:00:00Z';
  await control('POST', '/ecs/instances', { cluster: 'demo', count: 2, agentConnected: false, registeredAt });
  assert.equal((await arns()).length, 5);
  const { containerInstances: all = [] } = await describe(await arns());
  const old = all.filter((each) => each.registeredAt?.getTime() === Date.parse(registeredAt));
  assert.deepEqual(
    old.map(({ agentConnected }) => agentConnected),
    [false, false],
  );
  await control('DELETE', `/ecs/instances/${first}`);
  assert.equal((await arns()).length, 4);
  await control('PUT', `/ecs/instances/${second}`, { cluster: 'other' });
  const [moved = ''] = await arns('other');
  const { containerInstances: [one] = [] } = await describe([moved], 'other');
  assert.equal(one?.ec2InstanceId, second);
  const containerInstanceArn = moved.replace(/.{4}$/, 'ffff');
  await control('PUT', `/ecs/instances/${second}`, {
    containerInstanceArn,
    cpuUnits: 10,
    ports: [80],
    attributes: { stack: 'blue', 'ecs.os-type': null },
  });
  assert.deepEqual(await arns('other'), [containerInstanceArn]);
  const described = (await describe([containerInstanceArn], 'other')).containerInstances?.[0];
  const changed = described?.remainingResources ?? [];
  assert.equal(attribute(described, 'stack'), 'blue');
  assert.equal(attribute(described, 'ecs.os-type'), undefined);
  assert.equal(attribute(described, 'ecs.instance-type'), 'm5.large');
  const remaining = (name: string) => changed.find((resource) => resource.name === name);
  assert.deepEqual(
    [remaining('CPU')?.integerValue, remaining('MEMORY')?.integerValue, remaining('PORTS')?.stringSetValue],
    [10, 7_764, ['80']],
  );
  await ecs.send(new CreateClusterCommand({ clusterName: 'empty' }));
  assert.deepEqual(await arns('empty'), []);
});

test('requests are counted by operation, with errors, instants and the highest rate', async (t) => {
  const { arns, fault, control } = await start(t, { clock: simulatedClock() });
  await arns();
  await fault({ all: 'throttle' });
  await assert.rejects(arns());
  const counted: { operations: object; highestPerSecond: number; recent: { at: string }[] } = await control(
    'GET',
    '/ecs/requests',
  );
  assert.deepEqual(counted.operations, { ListContainerInstances: { requests: 2, errors: 1 } });
  assert.equal(counted.highestPerSecond, 2);
  assert.equal(counted.recent[0]?.at, '2026-01-01T00:00:00.000Z');
  await control('DELETE', '/ecs/requests');
  assert.deepEqual(((await control('GET', '/ecs/requests')) as { recent: [] }).recent, []);
});
