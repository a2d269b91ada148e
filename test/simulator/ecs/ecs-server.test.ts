import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  answerEcs,
  describeRequests,
  type EcsFaults,
  logRequest,
  NO_REQUESTS,
  nextFault,
  OPERATION_NAMES,
  parseEcsFaults,
} from '../../../src/simulator/ecs/ecs-server.ts';
import type { Circumstances } from '../../../src/simulator/ecs/operations.ts';
import {
  clusterArn,
  type EcsWorld,
  emptyWorld,
  registeredInstance,
  withCluster,
  withInstances,
  withoutInstance,
} from '../../../src/simulator/ecs/world.ts';
import { ACCOUNT_ID, REGION, simulatedNode } from '../../../src/simulator/simulated-node.ts';

describe('answer ecs', () => {
  const now: Circumstances = { region: REGION, wallMs: 1_700_000_000_500, nowMs: 100 };
  const demo = clusterArn(ACCOUNT_ID, REGION, 'demo');

  function worldOf(count: number, visibleFromMs = 0): EcsWorld {
    const world = withCluster(emptyWorld(ACCOUNT_ID), demo);
    const fleet = { seed: 's', cluster: 'demo' };
    const at = { agentVersion: '1.70.0', generation: 0, wallMs: now.wallMs, visibleFromMs };
    return withInstances(
      world,
      Array.from({ length: count }, (_, index) => registeredInstance({ node: simulatedNode(index, fleet), ...at })),
    );
  }

  function ask(world: EcsWorld, operation: string, input: object, circumstances = now) {
    return answerEcs(world, operation, JSON.stringify(input), circumstances).body;
  }

  const list = (world: EcsWorld, input: object = {}) =>
    ask(world, 'ListContainerInstances', { cluster: 'demo', ...input }) as {
      containerInstanceArns: string[];
      nextToken?: string;
    };

  test('pages have each instance once, also if instances are removed between two pages', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 25 }), fc.nat(), (count, size, pick) => {
        let world = worldOf(count);
        const all = [...world.instances.keys()];
        const doomed = all[pick % Math.max(1, all.length)];
        const seen: string[] = [];
        let next: string | undefined;
        do {
          const page = list(world, { maxResults: size, ...(next === undefined ? {} : { nextToken: next }) });
          assert.ok(page.containerInstanceArns.length <= size);
          seen.push(...page.containerInstanceArns);
          next = page.nextToken;
          if (doomed !== undefined) world = withoutInstance(world, doomed);
        } while (next !== undefined);
        assert.equal(new Set(seen).size, seen.length);
        for (const arn of all) assert.ok(arn === doomed || seen.includes(arn), arn);
      }),
    );
  });

  test('a page has at most 100 items, and the last one has no token', () => {
    assert.equal(list(worldOf(100)).nextToken, undefined);
    const first = list(worldOf(101));
    assert.equal(first.containerInstanceArns.length, 100);
    assert.equal(list(worldOf(101), { nextToken: first.nextToken }).containerInstanceArns.length, 1);
  });

  test('an instance that is not visible yet is neither listed, described, counted, drained nor given tasks', () => {
    const world = worldOf(1, 101);
    const [arn = ''] = world.instances.keys();
    const named = { cluster: 'demo', containerInstances: [arn] };
    assert.deepEqual(list(world).containerInstanceArns, []);
    const missing = [{ arn, reason: 'MISSING' }];
    assert.deepEqual(ask(world, 'DescribeContainerInstances', named)['failures'], missing);
    assert.deepEqual(
      ask(world, 'UpdateContainerInstancesState', { ...named, status: 'DRAINING' })['failures'],
      missing,
    );
    const later = { ...now, nowMs: 101 };
    assert.deepEqual(ask(world, 'DescribeContainerInstances', named, later)['failures'], []);
  });

  test('an instance is also found by its id, but only in its own cluster', () => {
    const other = clusterArn(ACCOUNT_ID, REGION, 'other');
    const world = withCluster(worldOf(1), other);
    const [arn = ''] = world.instances.keys();
    const described = (cluster: string, id: string) =>
      ask(world, 'DescribeContainerInstances', { cluster, containerInstances: [id] }) as { failures: unknown[] };
    assert.deepEqual(described('demo', arn.split('/').at(-1) ?? '').failures, []);
    assert.deepEqual(described(demo, arn).failures, []);
    assert.deepEqual(described('other', arn).failures, [{ arn, reason: 'MISSING' }]);
  });

  test('instants are seconds, as in AWS’s JSON', () => {
    const world = worldOf(1);
    const [arn = ''] = world.instances.keys();
    const body = ask(world, 'DescribeContainerInstances', { cluster: 'demo', containerInstances: [arn] });
    const [instance] = body['containerInstances'] as { registeredAt: number }[];
    assert.equal(instance?.registeredAt, 1_700_000_000.5);
  });

  test('for any request there is an answer or an AWS error, and the previous state is unchanged', () => {
    const world = worldOf(2);
    const before = structuredClone(world);
    const member = fc.constantFrom('cluster', 'containerInstances', 'maxResults', 'nextToken', 'status', 'attributes');
    const value = fc.oneof(fc.constantFrom('demo', ['x'], 1, null, [{}], 'ACTIVE', 0, -1), fc.jsonValue());
    fc.assert(
      fc.property(fc.constantFrom(...OPERATION_NAMES, 'Nonsense'), fc.dictionary(member, value), (operation, input) => {
        try {
          assert.equal(typeof ask(world, operation, input), 'object');
        } catch (error) {
          assert.equal((error as Error).name, 'AwsError', String(error));
        }
      }),
    );
    assert.deepEqual(world, before);
  });

  test('a task definition is found by family, revision or ARN, in its region', () => {
    const registration = { family: 'f', containerDefinitions: [{ name: 'c', image: 'c', memory: 1 }] };
    const register = (world: EcsWorld) =>
      answerEcs(world, 'RegisterTaskDefinition', JSON.stringify(registration), now).world;
    const world = register(register(worldOf(0)));
    const arn = `arn:aws:ecs:${REGION}:${ACCOUNT_ID}:task-definition/f`;
    const find = (taskDefinition: string, circumstances = now) =>
      (
        ask(world, 'DescribeTaskDefinition', { taskDefinition }, circumstances)['taskDefinition'] as {
          revision: number;
        }
      ).revision;
    assert.deepEqual([find('f'), find('f:1'), find('f:2'), find(`${arn}:1`)], [2, 1, 2, 1]);
    for (const name of ['g', 'f:0', 'f:3', 'f:x', 'f:01', arn.replace(ACCOUNT_ID, '999999999999'), `${arn}:9`]) {
      assert.throws(() => find(name), { code: 'ClientException' }, name);
    }
    assert.throws(() => find('f', { ...now, region: 'eu-west-1' }), { code: 'ClientException' });
  });

  test('a task’s memory is its own or its containers’ reservations; a host network uses container ports', () => {
    const web = { name: 'web', image: 'web', memory: 300, portMappings: [{ containerPort: 80, hostPort: 0 }] };
    const [arn = ''] = worldOf(1).instances.keys();
    const remaining = (definition: object) => {
      const registered = answerEcs(
        worldOf(1),
        'RegisterTaskDefinition',
        JSON.stringify({ family: 'f', ...definition }),
        now,
      );
      const start = { cluster: 'demo', taskDefinition: 'f', containerInstances: [arn] };
      const { world } = answerEcs(registered.world, 'StartTask', JSON.stringify(start), now);
      const room = world.instances.get(arn)?.remaining;
      return [7_764 - (room?.memoryMiB ?? 0), room?.ports.includes(80)];
    };
    assert.deepEqual(remaining({ containerDefinitions: [web] }), [300, false]);
    assert.deepEqual(remaining({ containerDefinitions: [{ ...web, memoryReservation: 100 }, web] }), [400, false]);
    assert.deepEqual(remaining({ containerDefinitions: [web], memory: '900', networkMode: 'host' }), [900, true]);
    assert.deepEqual(remaining({ containerDefinitions: [web], networkMode: 'awsvpc' }), [300, false]);
  });
});

describe('ecs faults', () => {
  const none: EcsFaults = new Map();

  /** Which of the next requests of `operation` get a fault. */
  function met(faults: EcsFaults, operation: string, requests: number): (string | null)[] {
    let now = faults;
    return Array.from({ length: requests }, () => {
      const next = nextFault(now, operation);
      now = next.faults;
      return next.fault?.fault ?? null;
    });
  }

  test('a share of the requests is evenly spread', () => {
    const faults = parseEcsFaults(none, { all: { fault: 'throttle', share: 0.3 } });
    assert.equal(met(faults, 'ListClusters', 100).filter(Boolean).length, 30);
    assert.equal(met(faults, 'ListClusters', 10).filter(Boolean).length, 3);
  });

  test('a fault with a number of times ends after them, with any share', () => {
    assert.deepEqual(met(parseEcsFaults(none, { StartTask: { fault: 'cut', times: 2 } }), 'StartTask', 3), [
      'cut',
      'cut',
      null,
    ]);
    const rare = parseEcsFaults(none, { all: { fault: 'cut', times: 2, share: 0.5 } });
    assert.deepEqual(met(rare, 'StartTask', 6), [null, 'cut', null, 'cut', null, null]);
  });

  test('an operation’s own fault takes precedence over that of all, and other faults stay', () => {
    const faults = parseEcsFaults(parseEcsFaults(none, { all: 'throttle' }), { StartTask: 'deny' });
    assert.deepEqual(met(faults, 'StartTask', 1), ['deny']);
    assert.deepEqual(met(faults, 'ListClusters', 1), ['throttle']);
    const lifted = parseEcsFaults(faults, { all: 'none' });
    assert.deepEqual([...lifted.keys()], ['StartTask']);
  });

  test('an invalid fault is a usage error with the allowed values', () => {
    const cases: [unknown, RegExp][] = [
      [[], /expected a JSON object/],
      [{ ListCluster: 'deny' }, /unknown key "ListCluster"; use any of all, CreateCluster/],
      [{ all: 'sleepy' }, /^fault of all: "sleepy" is unknown; use one of none, throttle/],
      [{ all: { fault: 'deny', times: 0 } }, /times: expected a whole number above 0, got 0$/],
      [{ all: { fault: 'deny', share: 1.5 } }, /share: expected a number above 0 to 1, got 1.5$/],
      [{ all: { fault: 'slow', delayMs: -1 } }, /delayMs: expected 0 to 120000, got -1$/],
    ];
    for (const [value, message] of cases) {
      assert.throws(() => parseEcsFaults(none, value), { name: 'UsageError', message });
    }
  });
});

describe('request log', () => {
  function logged(...instantsMs: number[]) {
    const log = instantsMs.reduce(
      (log, atMs) =>
        logRequest(log, { operation: 'ListClusters', at: new Date(atMs).toISOString(), atMs, error: null }),
      NO_REQUESTS,
    );
    return describeRequests(log) as { highestPerSecond: number; recent: unknown[]; operations: object };
  }

  test('the highest rate is that of any second, not of a clock second', () => {
    assert.equal(logged().highestPerSecond, 0);
    assert.equal(logged(0, 500, 1_000, 1_500, 2_000).highestPerSecond, 2);
    assert.equal(logged(0, 900, 1_100, 1_899, 3_000).highestPerSecond, 3);
  });

  test('the log keeps the newest 2,000 requests and counts all', () => {
    const { recent, operations } = logged(...Array.from({ length: 2_100 }, (_, index) => index));
    assert.equal(recent.length, 2_000);
    assert.deepEqual(operations, { ListClusters: { requests: 2_100, errors: 0 } });
  });
});
