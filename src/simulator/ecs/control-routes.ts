import { UsageError } from '../../errors.ts';
import { problem } from '../../http/problem.ts';
import { jsonReply, type Reply } from '../../http/reply.ts';
import type { ControlRequest } from '../control-request.ts';
import { methodNotAllowed } from '../method-not-allowed.ts';
import { parseControlBody } from '../parse-control-body.ts';
import { requireObject } from '../require-object.ts';
import { REGION } from '../simulated-node.ts';
import { AwsError } from './aws-error.ts';
import { addInstances, changeInstance, describeInstance, listInstances, removeInstance } from './control-instances.ts';
import { parseEcsFaults } from './ecs-faults.ts';
import type { EcsSimulation } from './ecs-simulation.ts';
import { requestInput } from './request-input.ts';
import { describeRequests, NO_REQUESTS } from './request-log.ts';
import { registerTaskDefinition } from './task-definition-operations.ts';

/** Answers with what is to be seen after it. @param id of a container instance: the last part of its ARN, or its EC2 instance's */
type Route = (ecs: EcsSimulation, body: () => unknown, id: string) => unknown;

const ROUTES: Readonly<Record<string, Readonly<Record<string, Route>>>> = {
  '/ecs': { GET: describe },
  '/ecs/faults': {
    PUT: (ecs, body) => {
      const asked = body();
      ecs.change((state) => ({ ...state, faults: parseEcsFaults(state.faults, asked) }));
      return describe(ecs);
    },
  },
  '/ecs/settings': {
    PUT: (ecs, body) => {
      const registrationDelayMs = parseDelay(body());
      ecs.change((state) => ({ ...state, registrationDelayMs }));
      return describe(ecs);
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

/** The switches of the simulated ECS, in the manner of those of the nodes. @param ecs null: there is none */
export function answerEcsControl(ecs: EcsSimulation | null, { method, path, body }: ControlRequest): Reply {
  if (ecs === null) return problem(404, 'no ECS endpoint is simulated; start with --ecs', { instance: path });
  const [, id = ''] = /^\/ecs\/instances\/([^/]+)$/.exec(path) ?? [];
  const routes = ROUTES[id === '' ? path : '/ecs/instances/{id}'];
  if (!routes) return problem(404, `nothing is here; use one of ${Object.keys(ROUTES).join(', ')}`, { instance: path });
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

function describe(ecs: EcsSimulation): unknown {
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
