import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TaskDefinition } from '@aws-sdk/client-ecs';
import { parseTaskNeeds } from '../../src/ecs/aws/parse.ts';

/** https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html */
const web = { name: 'web', cpu: 128, memory: 512, memoryReservation: 300 };
const log = { name: 'log', memory: 100 };
const needs = (definition: TaskDefinition) => parseTaskNeeds(definition);

test('containers add up, each with its reservation where it has one', () => {
  const none = { ports: [], portsUdp: [] };
  assert.deepEqual(needs({ containerDefinitions: [web, log] }), { cpuUnits: 128, memoryMiB: 400, ...none });
  // The task's own size bounds them all.
  assert.deepEqual(needs({ cpu: '1024', memory: '2048', containerDefinitions: [web, log] }), {
    cpuUnits: 1_024,
    memoryMiB: 2_048,
    ...none,
  });
  assert.deepEqual(needs({ memory: '2048', containerDefinitions: [web, log] }).cpuUnits, 128);
});

test('ports of the host: fixed ones of a bridge, all of a host network, none where docker or the task has its own', () => {
  const portMappings = [
    { containerPort: 80, hostPort: 8_080 },
    { containerPort: 53, hostPort: 53, protocol: 'udp' as const },
    { containerPort: 81, hostPort: 0 },
    { containerPort: 82 },
  ];
  const ports = (networkMode: TaskDefinition['networkMode']) => {
    const { ports, portsUdp } = needs({ networkMode, containerDefinitions: [{ ...web, portMappings }, log] });
    return [ports, portsUdp];
  };
  assert.deepEqual(ports('bridge'), [[8_080], [53]]);
  assert.deepEqual(ports(undefined), [[8_080], [53]]);
  assert.deepEqual(ports('host'), [[80, 81, 82], [53]]);
  assert.deepEqual(ports('awsvpc'), [[], []]);
  assert.deepEqual(ports('none'), [[], []]);
});
