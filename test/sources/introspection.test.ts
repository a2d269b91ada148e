import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { describeError } from '../../src/lib/errors.ts';
import { containerInstanceArn, type IntrospectionFault } from '../../src/simulator/simulated-node.ts';
import { createIntrospectionReader, parseIntrospection } from '../../src/sources/introspection.ts';
import { SourceError } from '../../src/sources/source-error.ts';
import { scaledClock } from '../support/scaled-clock.ts';
import { simulateNode } from './simulate-node.ts';
import { startRawServer } from './start-raw-server.ts';

/** Of any code points. `fc.string({ unit: 'binary' })` is the same, but a table of all of them takes a second to build. */
const anyText = fc.array(fc.integer({ min: 0, max: 0x10ffff })).map((points) => String.fromCodePoint(...points));

describe('parse introspection', () => {
  const ARN = 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/6b107562-f96a-4528-94dd-81f93d812a63';
  const OLD_ARN = 'arn:aws:ecs:us-east-1:123456789012:container-instance/674140ae-1234-4cde-8f01-23456789abcd';
  const VERSION = 'Amazon ECS Agent - v1.70.0 (*0e7482df)';

  const parse = (changes: Readonly<Record<string, unknown>> = {}) =>
    parseIntrospection(JSON.stringify({ Cluster: 'demo', ContainerInstanceArn: ARN, Version: VERSION, ...changes }));

  test('the answer of ecs-agent 1.70.0 is parsed', () => {
    assert.deepEqual(parse(), {
      containerInstanceArn: ARN,
      cluster: 'demo',
      agentVersion: '1.70.0',
      agentHash: '0e7482df',
    });
  });

  test('the answer of 1.0.0 is parsed: an ARN without the cluster, and an unknown hash', () => {
    const version = 'Amazon ECS Agent - v1.0.0 (*UNKNOWN)';
    assert.deepEqual(parse({ ContainerInstanceArn: OLD_ARN, Version: version }), {
      containerInstanceArn: OLD_ARN,
      cluster: 'demo',
      agentVersion: '1.0.0',
      agentHash: null,
    });
  });

  test('a null ARN is accepted: ecs-agent runs and is not registered', () => {
    assert.equal(parse({ ContainerInstanceArn: null }).containerInstanceArn, null);
  });

  test('a cluster given as an ARN is reduced to its name', () => {
    for (const partition of ['aws', 'aws-cn', 'aws-us-gov']) {
      const arn = `arn:${partition}:ecs:us-east-1:123456789012:cluster/My-ECS_Cluster`;
      assert.equal(parse({ Cluster: arn }).cluster, 'My-ECS_Cluster');
    }
  });

  test('ARNs of all partitions and of both id forms are accepted', () => {
    for (const arn of [
      ARN.replace('aws', 'aws-cn'),
      ARN.replace('aws', 'aws-us-gov'),
      ARN.replace('aws', 'aws-iso-b'),
      'arn:aws:ecs:eu-central-1:123456789012:container-instance/demo/0123456789abcdef0123456789abcdef',
    ]) {
      assert.equal(parse({ ContainerInstanceArn: arn }).containerInstanceArn, arn);
    }
  });

  test('an invalid ARN, or one of another resource, is an error that quotes it', () => {
    for (const arn of [
      '',
      'demo',
      ARN.replace('arn:aws:', 'arn:azure:'),
      ARN.replace(':ecs:', ':ec2:'),
      ARN.replace('123456789012', '12345678901'),
      ARN.replace('container-instance', 'task'),
      `${ARN}\n`,
      `${ARN}/more`,
      ARN.slice(0, -1),
    ]) {
      assert.throws(() => parse({ ContainerInstanceArn: arn }), {
        name: 'SourceError',
        message: /^ecs-agent \/v1\/metadata: ContainerInstanceArn: expected a container instance ARN or null, got "/,
      });
    }
  });

  test('wrong types are errors', () => {
    for (const wrong of [42, [], {}, true, undefined]) {
      assert.throws(() => parse({ ContainerInstanceArn: wrong }), SourceError);
      assert.throws(() => parse({ Cluster: wrong }), SourceError);
    }
    assert.throws(() => parse({ Cluster: 'a cluster' }), SourceError);
  });

  test('the list of commands, which ecs-agent sends with status 200 for an unknown path, is an error that says so', () => {
    assert.throws(() => parseIntrospection('{"AvailableCommands":["/v1/metadata","/v1/tasks","/license"]}'), {
      name: 'SourceError',
      message: 'ecs-agent /v1/metadata: got the list of commands, which ecs-agent sends for an unknown path',
    });
  });

  test('an unreadable version is null and not an error', () => {
    for (const version of [undefined, null, 42, '', '1.70.0', 'Amazon ECS Agent - v1.70 (*0e7482df)', `${VERSION}\n`]) {
      const { agentVersion, agentHash, cluster } = parse({ Version: version });
      assert.deepEqual({ agentVersion, agentHash, cluster }, { agentVersion: null, agentHash: null, cluster: 'demo' });
    }
    assert.equal(parse({ Version: 'Amazon ECS Agent - v1.86.3 (0e7482df)' }).agentHash, '0e7482df');
  });

  test('HTML, a truncated body and JSON that is not an object are errors', () => {
    for (const body of ['', '<html>', '{"Cluster":"demo","Conta', '[]', 'null', '"demo"']) {
      assert.throws(() => parseIntrospection(body), { name: 'SourceError', message: /expected a JSON object, got "/ });
    }
  });

  test('for any input the result is facts or a SourceError of one short line', () => {
    fc.assert(
      fc.property(fc.oneof(anyText, fc.json()), (body) => {
        try {
          parseIntrospection(body);
        } catch (error) {
          assert.ok(error instanceof SourceError);
          assert.ok(error.message.length < 200 && !error.message.includes('\n'), error.message);
        }
      }),
    );
  });
});

describe('read introspection', () => {
  const { signal } = new AbortController();

  /** Stretches 200 ms to two seconds, so that a slow test machine does not look like an ecs-agent that hangs. */
  function openReader(t: TestContext, endpoint: string, timeoutMs = 1_000) {
    const read = createIntrospectionReader({ endpoint, clock: scaledClock(0.1), timeoutMs });
    t.after(() => read.close());
    return read;
  }

  async function startNode(t: TestContext, agentVersion: '1.70.0' | '1.0.0' = '1.70.0') {
    const { simulator, ...node } = await simulateNode(t, { agentVersion });
    return {
      ...node,
      break: (introspection: IntrospectionFault) => simulator.setFault(node.id, { introspection }),
      wipe: () => simulator.restartAgent(node.id, { wipeCheckpoint: true }),
    };
  }

  test('a current ecs-agent gives its ARN, cluster and version', async (t) => {
    const { node, introspectionEndpoint } = await startNode(t);
    assert.deepEqual(await openReader(t, introspectionEndpoint)(signal), {
      containerInstanceArn: containerInstanceArn(node, 0, true),
      cluster: 'demo',
      agentVersion: '1.70.0',
      agentHash: '0e7482df',
    });
  });

  test('an ecs-agent of 2015 gives the same facts as text/plain, with an ARN of the old form', async (t) => {
    const { node, introspectionEndpoint } = await startNode(t, '1.0.0');
    assert.deepEqual(await openReader(t, introspectionEndpoint)(signal), {
      containerInstanceArn: containerInstanceArn(node, 0, false),
      cluster: 'demo',
      agentVersion: '1.0.0',
      agentHash: null,
    });
  });

  test('after a lost checkpoint the same node has a new ARN', async (t) => {
    const node = await startNode(t);
    const read = openReader(t, node.introspectionEndpoint);
    const before = await read(signal);
    await node.wipe();
    const after = await read(signal);
    assert.notEqual(after.containerInstanceArn, before.containerInstanceArn);
    assert.deepEqual({ ...after, containerInstanceArn: null }, { ...before, containerInstanceArn: null });
  });

  test('a null ARN and a cluster given as an ARN are read', async (t) => {
    const node = await startNode(t);
    const read = openReader(t, node.introspectionEndpoint);
    await node.break('null-arn');
    assert.equal((await read(signal)).containerInstanceArn, null);
    await node.break('cluster-arn');
    assert.equal((await read(signal)).cluster, 'demo');
  });

  const faults: [IntrospectionFault, RegExp][] = [
    ['refuse', /^connection refused at 127\.0\.0\.1:\d+: ecs-agent is not running or not registered yet$/],
    ['hang', /^ecs-agent \/v1\/metadata at 127\.0\.0\.1:\d+: no answer within 200 ms$/],
    ['error500', /^ecs-agent \/v1\/metadata at 127\.0\.0\.1:\d+: HTTP 500$/],
    ['html', /^ecs-agent \/v1\/metadata: expected a JSON object, got "<!DOCTYPE html>/],
    ['truncated', /^ecs-agent \/v1\/metadata at 127\.0\.0\.1:\d+: /],
    ['oversized', /^ecs-agent \/v1\/metadata at .*larger than 65536 bytes/],
    ['wrong-type', /^ecs-agent \/v1\/metadata: ContainerInstanceArn: expected .*, got "42"$/],
  ];
  for (const [fault, message] of faults) {
    test(`with the fault ${fault}, the error is one line that says what is wrong, and the reader recovers`, async (t) => {
      const node = await startNode(t);
      const read = openReader(t, node.introspectionEndpoint, 200);
      await node.break(fault);
      const error = await read(signal).catch((reason: unknown) => reason);
      assert.ok(error instanceof SourceError, String(error));
      assert.match(describeError(error), message);
      await node.break('none');
      assert.equal((await read(signal)).cluster, 'demo');
    });
  }

  test('a server that answers any path with its commands and status 200 is refused', async (t) => {
    const server = await startRawServer(t, (_req, res) =>
      res.end('{"AvailableCommands":["/v1/metadata","/v1/tasks"]}'),
    );
    await assert.rejects(openReader(t, server.endpoint)(signal), { message: /got the list of commands/ });
  });

  test('a redirect is not followed', async (t) => {
    const server = await startRawServer(t, (_req, res) =>
      res.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    );
    await assert.rejects(openReader(t, server.endpoint)(signal), { message: /HTTP 302$/ });
    assert.equal(server.requests.length, 1);
  });

  test("an abort ends the read with the signal's own reason", async (t) => {
    const server = await startRawServer(t, () => {});
    const controller = new AbortController();
    const read = openReader(t, server.endpoint)(controller.signal);
    const reason = new Error('stopping');
    controller.abort(reason);
    await assert.rejects(read, (error) => error === reason);
  });
});
