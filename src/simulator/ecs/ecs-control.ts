import * as v from 'valibot';
import { clusterName, isContainerInstanceArn } from '../../ecs/arn.ts';
import { jsonReply, problem, type Reply } from '../../http/reply.ts';
import { UsageError } from '../../lib/errors.ts';
import { type ControlRequest, methodNotAllowed, parseControlBody, requireObject } from '../http.ts';
import { ACCOUNT_ID, REGION, simulatedNode } from '../simulated-node.ts';
import { describeRequests, type EcsSimulation, NO_REQUESTS, parseEcsFaults } from './ecs-server.ts';
import { AwsError, INSTANCE_STATUSES, requestInput } from './operations.ts';
import { registerTaskDefinition } from './task-operations.ts';
import {
  clusterArn,
  registeredInstance,
  type SimulatedInstance,
  wireInstance,
  withCluster,
  withInstances,
  withoutInstance,
} from './world.ts';

const amount = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(10_000_000));
const ports = v.pipe(v.array(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535))), v.maxLength(1_000));

const attribute = v.pipe(v.string(), v.minLength(1), v.maxLength(128));

const schema = v.partial(
  v.strictObject({
    containerInstanceArn: v.pipe(v.string(), v.check(isContainerInstanceArn, 'expected a container instance ARN')),
    cluster: v.pipe(
      v.string(),
      v.check((name) => clusterName(name) === name, 'expected the name of a cluster'),
    ),
    ec2InstanceId: v.pipe(v.string(), v.regex(/^m?i-[0-9a-f]{8,17}$/, 'expected i-… or mi-…')),
    status: v.picklist(INSTANCE_STATUSES),
    agentConnected: v.boolean(),
    /** RFC 3339. The default is old, because an instance registered in the last minutes is not a ghost yet. */
    registeredAt: v.pipe(v.string(), v.isoTimestamp('expected an instant such as 2026-01-01T00:00:00Z')),
    /** Remaining resources. */
    cpuUnits: amount,
    memoryMiB: amount,
    /** Ports in use. */
    ports,
    runningTasksCount: amount,
    /** Added to its attributes; null removes one. */
    attributes: v.record(attribute, v.nullable(attribute)),
  }),
);

export const INSTANCE_KEYS = Object.keys(schema.entries) as (keyof typeof schema.entries)[];

/** Reads `{"agentConnected":false}`; other fields stay. @throws UsageError */
function parseInstanceChange(value: unknown): (instance: SimulatedInstance) => SimulatedInstance {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (!result.success) {
    const issue = result.issues[0];
    throw new UsageError(`ECS instance: ${v.getDotPath(issue) ?? 'value'}: ${issue.message}`);
  }
  const { cluster, containerInstanceArn, registeredAt, ...rest } = result.output;
  const { cpuUnits, memoryMiB, ports, attributes = {}, ...named } = rest;
  const plain = Object.fromEntries(Object.entries(named).filter(([, one]) => one !== undefined));
  return (instance) => ({
    ...instance,
    ...plain,
    clusterArn: cluster === undefined ? instance.clusterArn : clusterArn(ACCOUNT_ID, REGION, cluster),
    registeredAtMs: registeredAt === undefined ? instance.registeredAtMs : Date.parse(registeredAt),
    containerInstanceArn: containerInstanceArn ?? moved(instance.containerInstanceArn, cluster),
    attributes: new Map(
      Object.entries({ ...Object.fromEntries(instance.attributes), ...attributes }).filter(
        ([name, value]) => value !== null || !(name in attributes),
      ),
    ),
    remaining: {
      ...instance.remaining,
      cpuUnits: cpuUnits ?? instance.remaining.cpuUnits,
      memoryMiB: memoryMiB ?? instance.remaining.memoryMiB,
      ports: ports ?? instance.remaining.ports,
    },
  });
}

/** Replaces the cluster in an ARN of the newer form. */
function moved(arn: string, cluster: string | undefined): string {
  return cluster === undefined ? arn : arn.replace(/\/[^/]+\//, `/${cluster}/`);
}

/** At once. */
const MAX_ADDED = 10_000;

function listInstances(ecs: EcsSimulation): unknown {
  return { instances: [...ecs.state().world.instances.values()].map(brief) };
}

function describeInstance(ecs: EcsSimulation, _body: () => unknown, id: string): unknown {
  const instance = find(ecs, id);
  return { ...wireInstance(instance), clusterArn: instance.clusterArn };
}

/** Makes a node disconnected, or a mismatch, in ECS only. */
function changeInstance(ecs: EcsSimulation, body: () => unknown, id: string): unknown {
  const before = find(ecs, id);
  const after = parseInstanceChange(body())(before);
  ecs.change((state) => {
    const without = withoutInstance(withCluster(state.world, after.clusterArn), before.containerInstanceArn);
    return { ...state, world: withInstances(without, [after]) };
  });
  return describeInstance(ecs, body, after.containerInstanceArn.split('/').at(-1) ?? '');
}

/** Removes an instance, so that its node is a stray. */
function removeInstance(ecs: EcsSimulation, _body: () => unknown, id: string): unknown {
  const gone = find(ecs, id);
  ecs.change((state) => ({ ...state, world: withoutInstance(state.world, gone.containerInstanceArn) }));
  return { removed: brief(gone) };
}

/** Adds ghosts, instances without a node: `{"cluster":"demo","count":2}` and other fields of the instances. */
function addInstances(ecs: EcsSimulation, body: () => unknown): unknown {
  const { count = 1, cluster, ...members } = requireObject('ECS instances', ['count', ...INSTANCE_KEYS], body());
  if (!Number.isSafeInteger(count) || Number(count) < 1 || Number(count) > MAX_ADDED)
    throw new UsageError(`ECS instances: count: expected 1 to ${MAX_ADDED}, got ${JSON.stringify(count)}`);
  if (typeof cluster !== 'string') throw new UsageError('ECS instances: cluster: expected the name of a cluster');
  if (count !== 1 && (members.containerInstanceArn ?? members.ec2InstanceId) !== undefined)
    throw new UsageError('ECS instances: count: an ARN or an EC2 instance id belongs to one instance');
  const change = parseInstanceChange({ ...members, cluster });
  const [wallMs, nowMs] = [ecs.clock.wallMs(), ecs.clock.monotonicMs()];
  const { world, registrationDelayMs } = ecs.state();
  const added = Array.from({ length: Number(count) }, (_, index): SimulatedInstance => {
    const node = simulatedNode(world.serial + index, { seed: 'no node', cluster });
    const at = { wallMs, visibleFromMs: nowMs + registrationDelayMs };
    return change(registeredInstance({ node, agentVersion: '1.70.0', generation: 0, ...at }));
  });
  const grown = withInstances(withCluster(world, clusterArn(world.accountId, REGION, cluster)), added);
  ecs.change((state) => ({ ...state, world: { ...grown, serial: world.serial + added.length } }));
  return { instances: added.map(brief) };
}

function brief({ containerInstanceArn, ec2InstanceId, status, agentConnected }: SimulatedInstance): unknown {
  return { containerInstanceArn, ec2InstanceId, status, agentConnected };
}

/** Finds an instance by the last part of its ARN, or by its EC2 instance id, then the newest. */
function find(ecs: EcsSimulation, id: string): SimulatedInstance {
  const all = [...ecs.state().world.instances.values()];
  const found = all.findLast((one) => one.ec2InstanceId === id || one.containerInstanceArn.endsWith(`/${id}`));
  if (found) return found;
  throw new UsageError(`no container instance has the id ${id}; GET /ecs/instances lists the instances`);
}

/** Answers with the new state. @param id of a container instance: the last part of its ARN, or its EC2 instance id */
type Route = (ecs: EcsSimulation, body: () => unknown, id: string) => unknown;

const ROUTES: Readonly<Record<string, Readonly<Record<string, Route>>>> = {
  '/ecs': { GET: describeEcs },
  '/ecs/faults': {
    PUT: (ecs, body) => {
      const asked = body();
      ecs.change((state) => ({ ...state, faults: parseEcsFaults(state.faults, asked) }));
      return describeEcs(ecs);
    },
  },
  '/ecs/settings': {
    PUT: (ecs, body) => {
      const registrationDelayMs = parseDelay(body());
      ecs.change((state) => ({ ...state, registrationDelayMs }));
      return describeEcs(ecs);
    },
  },
  '/ecs/requests': {
    GET: (ecs) => describeRequests(ecs.state().log),
    DELETE: (ecs) => {
      ecs.change((state) => ({ ...state, log: NO_REQUESTS }));
      return describeRequests(NO_REQUESTS);
    },
  },
  '/ecs/taskDefinitions': {
    POST: (ecs, body) => {
      const now = { region: REGION, wallMs: ecs.clock.wallMs(), nowMs: ecs.clock.monotonicMs() };
      const made = registerTaskDefinition(ecs.state().world, requestInput(body()), now);
      ecs.change((state) => ({ ...state, world: made.world }));
      return made.body['taskDefinition'];
    },
  },
  '/ecs/instances': { GET: listInstances, POST: addInstances },
  '/ecs/instances/{id}': { GET: describeInstance, PUT: changeInstance, DELETE: removeInstance },
};

/** The control API of the simulated ECS, similar to that of the nodes. @param ecs null: no ECS endpoint */
export function answerEcsControl(ecs: EcsSimulation | null, { method, path, body }: ControlRequest): Reply {
  if (ecs === null) return problem(404, 'no ECS endpoint is simulated; start with --ecs', { instance: path });
  const [, id = ''] = /^\/ecs\/instances\/([^/]+)$/.exec(path) ?? [];
  const routes = ROUTES[id === '' ? path : '/ecs/instances/{id}'];
  if (!routes) return problem(404, `unknown path; use one of ${Object.keys(ROUTES).join(', ')}`, { instance: path });
  const route = routes[method];
  if (!route) return methodNotAllowed(method, path, Object.keys(routes).join(', '));
  try {
    return jsonReply(route(ecs, () => parseControlBody(body), id));
  } catch (error) {
    if (error instanceof UsageError) return problem(400, error.message, { instance: path });
    if (error instanceof AwsError) return problem(400, `${error.code}: ${error.message}`, { instance: path });
    throw error;
  }
}

function describeEcs(ecs: EcsSimulation): unknown {
  const { faults, registrationDelayMs, world } = ecs.state();
  const shown = [...faults].map(([name, { seen, ...fault }]) => [name, fault]);
  const settings = { registrationDelayMs };
  const clusters = [...world.clusters];
  return { endpoint: ecs.endpoint, region: REGION, clusters, faults: Object.fromEntries(shown), settings };
}

function parseDelay(value: unknown): number {
  const { registrationDelayMs } = requireObject('ECS settings', ['registrationDelayMs'], value);
  if (typeof registrationDelayMs === 'number' && registrationDelayMs >= 0 && registrationDelayMs <= 3_600_000)
    return registrationDelayMs;
  const got = JSON.stringify(registrationDelayMs);
  throw new UsageError(`ECS settings: registrationDelayMs: expected 0 to 3600000, got ${got}`);
}
