import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostPorts } from '../../src/config/flags.ts';
import { type PlaceFlags, taskNeeds } from '../../src/config/place.ts';

const FLAGS: PlaceFlags = { strategy: 'binpack', constraint: [], count: 1, why: false, output: 'text' };

test('ports are TCP unless they say otherwise, each once', () => {
  assert.deepEqual(hostPorts('8080'), { tcp: [8_080], udp: [] });
  assert.deepEqual(hostPorts('8080, 9090/udp,8080/tcp,53/udp'), { tcp: [8_080], udp: [9_090, 53] });
  assert.deepEqual(hostPorts('443', { tcp: [80], udp: [53] }), { tcp: [80, 443], udp: [53] });
  for (const text of ['', '0', '65536', '80/sctp', '80-90', '-1', '80,,90', '1e3']) {
    assert.throws(() => hostPorts(text), /is not PORT or PORT\/udp/, text);
  }
});

test('flags add to what a task definition takes: ECS reserves no less than that, whatever they say', () => {
  const defined = { cpuUnits: 256, memoryMiB: 512, ports: [80], portsUdp: [] };
  assert.deepEqual(taskNeeds(FLAGS, defined), defined);
  assert.deepEqual(taskNeeds({ ...FLAGS, cpu: 0, memory: 64, ports: { tcp: [80, 81], udp: [53] } }, defined), {
    ...defined,
    ports: [80, 81],
    portsUdp: [53],
  });
  assert.deepEqual(taskNeeds({ ...FLAGS, cpu: 300 }, defined), { ...defined, cpuUnits: 300 });
  assert.deepEqual(taskNeeds({ ...FLAGS, memory: 600 }, defined), { ...defined, memoryMiB: 600 });
});

test('without a task definition both must be said', () => {
  assert.throws(() => taskNeeds(FLAGS, null), { exitCode: 2, message: /^--cpu is missing: / });
  assert.throws(() => taskNeeds({ ...FLAGS, cpu: 1 }, null), { exitCode: 2, message: /^--memory is missing: / });
});
