import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerDefinition } from '@aws-sdk/client-ecs';
import { AnswerError } from '../../../src/ecs/aws/call.ts';
import { parseStarted, parseTaskNeeds } from '../../../src/ecs/aws/parse.ts';
import { arnOf } from '../../support/ecs-endpoint.ts';

const CONTAINERS: ContainerDefinition[] = [
  { cpu: 100, memory: 300, memoryReservation: 200, portMappings: [{ containerPort: 80, hostPort: 8_080 }] },
  { cpu: 28, memory: 56, portMappings: [{ containerPort: 53, hostPort: 53, protocol: 'udp' }, { containerPort: 81 }] },
];

test('the containers of a task add up, by their reservation where they have one', () => {
  const needs = parseTaskNeeds({ networkMode: 'bridge', containerDefinitions: CONTAINERS });
  assert.deepEqual(needs, { cpuUnits: 128, memoryMiB: 256, ports: [8_080], portsUdp: [53] });
});

test('a task’s own size bounds its containers', () => {
  const needs = parseTaskNeeds({ cpu: '256', memory: '512', containerDefinitions: CONTAINERS });
  assert.deepEqual([needs.cpuUnits, needs.memoryMiB], [256, 512]);
});

test('on the host’s network a container’s ports are the host’s; with awsvpc none is', () => {
  assert.deepEqual(parseTaskNeeds({ networkMode: 'host', containerDefinitions: CONTAINERS }).ports, [80, 81]);
  const own = parseTaskNeeds({ networkMode: 'awsvpc', containerDefinitions: CONTAINERS });
  assert.deepEqual([own.ports, own.portsUdp], [[], []]);
});

test('ports that cannot be are left out', () => {
  const portMappings = [0, -1, 65_536, 1.5, 65_535].map((hostPort) => ({ containerPort: 1, hostPort }));
  assert.deepEqual(parseTaskNeeds({ containerDefinitions: [{ portMappings }] }).ports, [65_535]);
});

test('no definition is no task that needs nothing', () => {
  assert.throws(() => parseTaskNeeds(undefined), AnswerError);
});

test('a task without an ARN, or without its instance’s, is no task', () => {
  const [taskArn, containerInstanceArn] = ['arn:aws:ecs:us-east-1:1:task/a', arnOf('demo', 1)];
  for (const task of [{ taskArn }, { containerInstanceArn }, { taskArn: '', containerInstanceArn }]) {
    assert.throws(() => parseStarted([], { tasks: [task] }), AnswerError);
  }
  assert.deepEqual(parseStarted([containerInstanceArn], { tasks: [{ taskArn, containerInstanceArn }] }).failures, []);
});
