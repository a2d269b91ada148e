import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerIntrospection, type IntrospectionState } from '../../src/simulator/imds.ts';
import { containerInstanceArn, simulatedNode } from '../../src/simulator/node.ts';

const node = simulatedNode(0, { seed: 's', cluster: 'demo' });
const current: IntrospectionState = { node, version: '1.70.0', generation: 0, variant: 'none' };
const old: IntrospectionState = { ...current, version: '1.0.0' };
const TEXT = 'text/plain; charset=utf-8';

test('1.70.0 answers /v1/metadata as application/json', () => {
  const { status, headers, body } = answerIntrospection(current, '/v1/metadata');
  assert.equal(status, 200);
  assert.equal(headers['Content-Type'], 'application/json');
  const arn = containerInstanceArn(node, 0, true);
  const version = 'Amazon ECS Agent - v1.70.0 (*0e7482df)';
  assert.equal(body, `{"Cluster":"demo","ContainerInstanceArn":"${arn}","Version":"${version}"}`);
});

test('1.0.0 answers it as text, with an ARN without the cluster and an unknown hash', () => {
  const { headers, body } = answerIntrospection(old, '/v1/metadata');
  assert.equal(headers['Content-Type'], TEXT);
  assert.equal(JSON.parse(body).Version, 'Amazon ECS Agent - v1.0.0 (*UNKNOWN)');
  assert.match(JSON.parse(body).ContainerInstanceArn, /:container-instance\/[0-9a-f-]{36}$/);
});

test('unknown paths answer 200 with the commands; 1.0.0 has no /license among them', () => {
  for (const path of ['/', '/v1', '/v1/metadata/', '/v2/metadata', '/nothing']) {
    const { status, body } = answerIntrospection(current, path);
    assert.equal(status, 200);
    assert.equal(body, '{"AvailableCommands":["/v1/metadata","/v1/tasks","/license"]}', path);
  }
  for (const path of ['/', '/license']) {
    assert.equal(answerIntrospection(old, path).body, '{"AvailableCommands":["/v1/metadata","/v1/tasks"]}');
  }
});

test('an empty task list is text/plain', () => {
  const { headers, body } = answerIntrospection(current, '/v1/tasks');
  assert.deepEqual([headers['Content-Type'], body], [TEXT, '{"Tasks":[]}']);
});

test('the variants change only what they are named after', () => {
  const plain = JSON.parse(answerIntrospection(current, '/v1/metadata').body);
  const unregistered = JSON.parse(answerIntrospection({ ...current, variant: 'null-arn' }, '/v1/metadata').body);
  assert.deepEqual(unregistered, { ...plain, ContainerInstanceArn: null });
  const named = JSON.parse(answerIntrospection({ ...current, variant: 'cluster-arn' }, '/v1/metadata').body);
  assert.deepEqual(named, { ...plain, Cluster: 'arn:aws:ecs:us-east-1:123456789012:cluster/demo' });
});
