import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TaskNeeds } from '../../src/ecs/ecs-api.ts';
import type { Candidate } from '../../src/placement/judge-nodes.ts';
import { placeTasks, STRATEGIES } from '../../src/placement/place-tasks.ts';
import { fewerInQuickRun } from '../support/quick-run.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { candidate, needs, resources } from './sample-instance.ts';

const PORTS = [80, 8080, 9090];
const ports = fc.uniqueArray(fc.constantFrom(...PORTS), { maxLength: 3 });
const mostTasks = fc.constantFrom(1, 2, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
/** Small numbers, so that nodes often have room for few tasks and are often equal. */
const cluster = fc
  .array(fc.tuple(fc.nat(12), fc.nat(12), ports, ports, fc.nat(5), mostTasks), { maxLength: 8 })
  .map((nodes) =>
    nodes.map(([memory, cpu, tcp, udp, tasks, most], n) =>
      candidate(n, resources(memory * 128, cpu * 64, { ports: tcp, portsUdp: udp }), tasks, most),
    ),
  );
const taskNeeds: fc.Arbitrary<TaskNeeds> = fc.record({
  memoryMiB: fc.integer({ min: 1, max: 4 }).map((parts) => parts * 128),
  cpuUnits: fc.nat(4).map((parts) => parts * 64),
  ports: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: ports }),
  portsUdp: fc.oneof({ weight: 5, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: ports }),
});
const strategy = fc.constantFrom(...STRATEGIES);
const count = fc.integer({ min: 1, max: 12 });

/** Whether the tasks fit, computed in another way than by the code under test. */
function holds(node: Candidate, task: TaskNeeds, tasks: number): boolean {
  const { remaining } = node;
  const fixed = [...task.ports, ...task.portsUdp].length > 0;
  return (
    tasks === 0 ||
    (tasks <= node.mostTasks &&
      tasks * task.memoryMiB <= remaining.memoryMiB &&
      tasks * task.cpuUnits <= remaining.cpuUnits &&
      !(fixed && tasks > 1) &&
      !task.ports.some((port) => remaining.ports.includes(port)) &&
      !task.portsUdp.some((port) => remaining.portsUdp.includes(port)))
  );
}

function capacityOf(node: Candidate, task: TaskNeeds, limit: number): number {
  let tasks = 0;
  while (tasks < limit && holds(node, task, tasks + 1)) tasks += 1;
  return tasks;
}

function tally(placements: readonly Candidate[]): Map<Candidate, number> {
  const given = new Map<Candidate, number>();
  for (const node of placements) given.set(node, (given.get(node) ?? 0) + 1);
  return given;
}

test('no node gets more tasks than fit in memory, CPU and ports together; all tasks are placed or none', () => {
  fc.assert(
    fc.property(cluster, taskNeeds, strategy, count, fc.nat(), (nodes, task, strategy, count, seed) => {
      const { placements, room, passedOver } = placeTasks(nodes, task, { strategy, count }, seededRandom(seed));
      const total = nodes.reduce((sum, node) => sum + capacityOf(node, task, count), 0);
      assert.equal(room, Math.min(total, count));
      assert.equal(placements.length, total >= count ? count : 0);
      const given = tally(placements);
      for (const [node, tasks] of given) assert.ok(holds(node, task, tasks), `${node.instanceId} ${tasks}`);
      for (const { instanceId, reason } of passedOver) {
        assert.ok(reason.length > 0);
        assert.ok(![...given.keys()].some((node) => node.instanceId === instanceId), 'passed over and placed on');
      }
      if (total < count) assert.equal(passedOver.length, nodes.length);
    }),
    { numRuns: fewerInQuickRun(1_000) },
  );
});

test('binpack uses no more nodes than first-fit in any order of the nodes', () => {
  fc.assert(
    fc.property(cluster, taskNeeds, count, fc.nat(), (nodes, task, count, seed) => {
      const { placements } = placeTasks(nodes, task, { strategy: 'binpack', count }, () => 0);
      const random = seededRandom(seed);
      const orders = [
        nodes,
        nodes.toSorted((a, b) => b.remaining.memoryMiB - a.remaining.memoryMiB),
        nodes.toSorted((a, b) => capacityOf(b, task, count) - capacityOf(a, task, count)),
        nodes.toSorted(() => random() - 0.5),
      ];
      for (const order of orders) {
        // All tasks are equal, so this is first-fit decreasing.
        const used = new Map<Candidate, number>();
        for (let left = placements.length; left > 0; left -= 1) {
          const node = order.find((each) => holds(each, task, (used.get(each) ?? 0) + 1));
          assert.ok(node);
          used.set(node, (used.get(node) ?? 0) + 1);
        }
        assert.ok(tally(placements).size <= used.size, `${tally(placements).size} nodes, first-fit ${used.size}`);
      }
    }),
    { numRuns: fewerInQuickRun(1_000) },
  );
});

test('spread gives a node at most one task more than any node with room', () => {
  fc.assert(
    fc.property(cluster, taskNeeds, count, (nodes, task, count) => {
      const { placements } = placeTasks(nodes, task, { strategy: 'spread', count }, () => 0);
      const given = tally(placements);
      for (const [node, tasks] of given) {
        for (const other of nodes) {
          const others = given.get(other) ?? 0;
          if (!holds(other, task, others + 1)) continue;
          assert.ok(node.tasks + tasks <= other.tasks + others + 1, `${node.instanceId} ${other.instanceId}`);
        }
      }
    }),
    { numRuns: fewerInQuickRun(1_000) },
  );
});

test('the order of the candidates does not change the placement', () => {
  fc.assert(
    fc.property(cluster, taskNeeds, strategy, count, fc.nat(), (nodes, task, strategy, count, seed) => {
      const place = (order: readonly Candidate[]) =>
        placeTasks(order, task, { strategy, count }, seededRandom(seed)).placements.map((node) => node.instanceId);
      assert.deepEqual(place(nodes.toReversed()), place(nodes));
    }),
  );
});

test('binpack fills the fullest node with room, and a larger one if that needs fewer nodes', () => {
  const nodes = [candidate(1, resources(4_096)), candidate(2, resources(512)), candidate(3, resources(1_024))];
  const ids = (count: number) =>
    placeTasks(nodes, needs(512), { strategy: 'binpack', count }, () => 0).placements.map((node) => node.instanceId);
  assert.deepEqual(ids(1), ['i-00000002']);
  assert.deepEqual(ids(2), ['i-00000003', 'i-00000003']);
  assert.deepEqual(ids(3), ['i-00000001', 'i-00000001', 'i-00000001']);
  // Two nodes are needed: the fullest, and the largest for the rest.
  assert.deepEqual(ids(9), ['i-00000002', ...Array(8).fill('i-00000001')]);
});

test('random chooses every node with room about equally often, and no other', () => {
  const nodes = [candidate(1, resources(4_096)), candidate(2, resources(64)), candidate(3, resources(4_096))];
  const random = seededRandom(7);
  const seen = new Map<string, number>();
  for (let run = 0; run < 1_000; run += 1) {
    const [node] = placeTasks(nodes, needs(512), { strategy: 'random', count: 1 }, random).placements;
    seen.set(node?.instanceId ?? '', (seen.get(node?.instanceId ?? '') ?? 0) + 1);
  }
  assert.deepEqual([...seen.keys()].sort(), ['i-00000001', 'i-00000003']);
  for (const times of seen.values()) assert.ok(times > 400, String(times));
  // A random number of 1 must not select a node after the last one.
  assert.equal(placeTasks(nodes, needs(512), { strategy: 'random', count: 1 }, () => 1).placements.length, 1);
});

test('the reasons name what is missing, with numbers', () => {
  const reasons = (node: Candidate, task: TaskNeeds, count = 1) =>
    placeTasks([node], task, { strategy: 'binpack', count }, () => 0).passedOver.map(({ reason }) => reason);
  assert.deepEqual(reasons(candidate(1, resources(128, 32)), needs(512, 256)), [
    'memory: needs 512 MiB, has 128 left; cpu: needs 256 units, has 32 left',
  ]);
  const taken = candidate(1, resources(4_096, 4_096, { ports: [8080], portsUdp: [53] }));
  assert.deepEqual(reasons(taken, { ...needs(512, 0, [8080, 80]), portsUdp: [53] }), [
    'port 8080 is in use; port 53/udp is in use',
  ]);
  assert.deepEqual(reasons(candidate(1, resources(1_100, 8_192)), needs(512), 3), [
    'full after 2 tasks: memory: needs 512 MiB, has 76 left',
  ]);
  assert.deepEqual(reasons(candidate(1, resources(4_096)), needs(512, 0, [80]), 2), [
    'full after 1 task: port 80 is in use',
  ]);
  assert.deepEqual(reasons(candidate(1, resources(4_096), 0, 2), needs(512), 3), ['full after 2 tasks: no GPU left']);
});
