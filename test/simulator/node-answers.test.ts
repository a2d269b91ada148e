import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  answerImds,
  answerIntrospection,
  type ImdsState,
  type IntrospectionState,
} from '../../src/simulator/node-answers.ts';
import { containerInstanceArn, NO_NOTICES, simulatedNode } from '../../src/simulator/simulated-node.ts';

describe('answer imds', () => {
  const node = simulatedNode(0, { seed: 's', cluster: 'demo' });
  const state: ImdsState = { node, notices: NO_NOTICES, allowV1: false, tokenSecret: 'secret', nowMs: 1_000 };
  const TTL = 'x-aws-ec2-metadata-token-ttl-seconds';

  const put = (headers: Readonly<Record<string, string>>, of = state) =>
    answerImds(of, { method: 'PUT', path: '/latest/api/token', headers });
  const get = (path: string, token?: string, of = state) =>
    answerImds(of, {
      method: 'GET',
      path: `/latest/${path}`,
      headers: token === undefined ? {} : { 'x-aws-ec2-metadata-token': token },
    });
  const token = put({ [TTL]: '60' }).body;

  test('a token is issued for 1 to 21600 seconds, with the TTL in the header', () => {
    for (const seconds of ['1', '60', '21600']) {
      const answer = put({ [TTL]: seconds });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers[TTL], seconds);
    }
  });

  test('a token request without the header, or with an invalid TTL, is 400', () => {
    assert.equal(put({}).status, 400);
    for (const seconds of ['0', '21601', '-1', '1.5', 'soon', '']) assert.equal(put({ [TTL]: seconds }).status, 400);
  });

  test('a token request from a proxy (X-Forwarded-For) is refused', () => {
    assert.equal(put({ [TTL]: '60', 'x-forwarded-for': '203.0.113.7' }).status, 403);
  });

  test('v2-only: no token, a wrong one, one of another node and an expired one are 401', () => {
    assert.equal(get('meta-data/instance-id', token).body, node.instanceId);
    const foreign = put({ [TTL]: '60' }, { ...state, tokenSecret: 'other' }).body;
    for (const bad of [undefined, '', 'wrong', `${token}x`, foreign]) {
      assert.equal(get('meta-data/instance-id', bad).status, 401);
    }
    assert.equal(get('meta-data/instance-id', token, { ...state, nowMs: 60_999 }).status, 200);
    assert.equal(get('meta-data/instance-id', token, { ...state, nowMs: 61_000 }).status, 401);
  });

  test('with v1 allowed, no token or a bad one is ignored', () => {
    const both = { ...state, allowV1: true };
    for (const any of [undefined, 'wrong']) assert.equal(get('meta-data/instance-id', any, both).status, 200);
  });

  test('a leaf that does not apply or does not exist is 404', () => {
    for (const path of ['meta-data/public-ipv4', 'meta-data/spot/instance-action', 'meta-data/none', '']) {
      assert.equal(get(path, token).status, 404, path);
    }
    assert.equal(get('meta-data/events/recommendations/rebalance', token).status, 404);
  });

  test('without notices, maintenance is an empty list and the life cycle state is InService', () => {
    assert.equal(get('meta-data/events/maintenance/scheduled', token).body, '[]');
    assert.equal(get('meta-data/autoscaling/target-lifecycle-state', token).body, 'InService');
  });

  test('notices are answered as they were set', () => {
    const spot = { action: 'terminate', time: '2026-11-22T10:26:18Z' } as const;
    const noticed = {
      ...state,
      notices: { ...NO_NOTICES, spot, rebalance: { noticeTime: '2026-11-22T10:20:00Z' }, lifecycleState: null },
    };
    assert.deepEqual(JSON.parse(get('meta-data/spot/instance-action', token, noticed).body), spot);
    assert.deepEqual(JSON.parse(get('meta-data/events/recommendations/rebalance', token, noticed).body), {
      noticeTime: '2026-11-22T10:20:00Z',
    });
    assert.equal(get('meta-data/autoscaling/target-lifecycle-state', token, noticed).status, 404);
  });

  test('the identity document has the keys of a real one and no signature', () => {
    const document = JSON.parse(get('dynamic/instance-identity/document', token).body);
    assert.equal(document.instanceId, node.instanceId);
    assert.equal(document.privateIp, '10.113.0.23');
    const keys = ['accountId', 'architecture', 'availabilityZone', 'imageId', 'instanceType', 'pendingTime', 'region'];
    for (const key of keys) assert.equal(typeof document[key], 'string', key);
    assert.equal(get('dynamic/instance-identity/signature', token).status, 404);
  });
});

describe('answer introspection', () => {
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

  test('unknown paths answer 200 with the commands; 1.0.0 has no /license', () => {
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

  test('each variant changes only what its name says', () => {
    const plain = JSON.parse(answerIntrospection(current, '/v1/metadata').body);
    const unregistered = JSON.parse(answerIntrospection({ ...current, variant: 'null-arn' }, '/v1/metadata').body);
    assert.deepEqual(unregistered, { ...plain, ContainerInstanceArn: null });
    const named = JSON.parse(answerIntrospection({ ...current, variant: 'cluster-arn' }, '/v1/metadata').body);
    assert.deepEqual(named, { ...plain, Cluster: 'arn:aws:ecs:us-east-1:123456789012:cluster/demo' });
  });
});
