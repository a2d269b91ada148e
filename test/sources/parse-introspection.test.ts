import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIntrospection } from '../../src/sources/introspection.ts';
import { SourceError } from '../../src/sources/source-error.ts';

const ARN = 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/6b107562-f96a-4528-94dd-81f93d812a63';
const OLD_ARN = 'arn:aws:ecs:us-east-1:123456789012:container-instance/674140ae-1234-4cde-8f01-23456789abcd';
const VERSION = 'Amazon ECS Agent - v1.70.0 (*0e7482df)';

const parse = (changes: Readonly<Record<string, unknown>> = {}) =>
  parseIntrospection(JSON.stringify({ Cluster: 'demo', ContainerInstanceArn: ARN, Version: VERSION, ...changes }));

test('the answer of 1.70.0', () => {
  assert.deepEqual(parse(), {
    containerInstanceArn: ARN,
    cluster: 'demo',
    agentVersion: '1.70.0',
    agentHash: '0e7482df',
  });
});

test('the answer of 1.0.0: an ARN without the cluster, and a hash that is not known', () => {
  const version = 'Amazon ECS Agent - v1.0.0 (*UNKNOWN)';
  assert.deepEqual(parse({ ContainerInstanceArn: OLD_ARN, Version: version }), {
    containerInstanceArn: OLD_ARN,
    cluster: 'demo',
    agentVersion: '1.0.0',
    agentHash: null,
  });
});

test('a null ARN is tolerated: the agent runs and is not registered', () => {
  assert.equal(parse({ ContainerInstanceArn: null }).containerInstanceArn, null);
});

test('a cluster given as an ARN is reduced to its name', () => {
  for (const partition of ['aws', 'aws-cn', 'aws-us-gov']) {
    const arn = `arn:${partition}:ecs:us-east-1:123456789012:cluster/My-ECS_Cluster`;
    assert.equal(parse({ Cluster: arn }).cluster, 'My-ECS_Cluster');
  }
});

test('ARNs of all partitions and of both forms of id are taken', () => {
  for (const arn of [
    ARN.replace('aws', 'aws-cn'),
    ARN.replace('aws', 'aws-us-gov'),
    ARN.replace('aws', 'aws-iso-b'),
    'arn:aws:ecs:eu-central-1:123456789012:container-instance/demo/0123456789abcdef0123456789abcdef',
  ]) {
    assert.equal(parse({ ContainerInstanceArn: arn }).containerInstanceArn, arn);
  }
});

test('an ARN that is none, or of another thing, is an error that quotes it', () => {
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

test('the list of commands, which ecs-agent gives with status 200 for any unknown path, is an error that says so', () => {
  assert.throws(() => parseIntrospection('{"AvailableCommands":["/v1/metadata","/v1/tasks","/license"]}'), {
    name: 'SourceError',
    message: 'ecs-agent /v1/metadata: got the list of commands instead, as for a path that does not exist',
  });
});

test('a version that cannot be read is unknown and no error', () => {
  for (const version of [undefined, null, 42, '', '1.70.0', 'Amazon ECS Agent - v1.70 (*0e7482df)', `${VERSION}\n`]) {
    const { agentVersion, agentHash, cluster } = parse({ Version: version });
    assert.deepEqual({ agentVersion, agentHash, cluster }, { agentVersion: null, agentHash: null, cluster: 'demo' });
  }
  assert.equal(parse({ Version: 'Amazon ECS Agent - v1.86.3 (0e7482df)' }).agentHash, '0e7482df');
});

test('HTML, a truncated body and JSON that is no object are errors', () => {
  for (const body of ['', '<html>', '{"Cluster":"demo","Conta', '[]', 'null', '"demo"']) {
    assert.throws(() => parseIntrospection(body), { name: 'SourceError', message: /expected a JSON object, got "/ });
  }
});

test('whatever comes in, the outcome is facts or a SourceError of one short line', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json()), (body) => {
      try {
        parseIntrospection(body);
      } catch (error) {
        assert.ok(error instanceof SourceError);
        assert.ok(error.message.length < 200 && !error.message.includes('\n'), error.message);
      }
    }),
  );
});
