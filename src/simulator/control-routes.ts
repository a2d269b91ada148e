import { UsageError } from '../errors.ts';
import { problem } from '../http/problem.ts';
import { jsonReply, type Reply } from '../http/reply.ts';
import type { ControlRequest } from './control-request.ts';
import { answerEcsControl } from './ecs/control-routes.ts';
import type { EcsSimulation } from './ecs/ecs-simulation.ts';
import { parseFaults } from './faults.ts';
import { methodNotAllowed } from './method-not-allowed.ts';
import type { NodeSimulation } from './node-simulation.ts';
import { parseNotices } from './notices.ts';
import { parseControlBody } from './parse-control-body.ts';
import { requireObject } from './require-object.ts';

/**
 * `GET /nodes`, `GET /nodes/{id}`, `PUT /nodes/{id}/faults`, `PUT /nodes/{id}/notices` and
 * `POST /nodes/{id}/restart`; all but the first answer with the node as it is then, errors are RFC 9457 problems.
 * What is below `/ecs` is the simulated ECS's.
 */
export async function answerControl(
  nodes: ReadonlyMap<string, NodeSimulation>,
  ecs: EcsSimulation | null,
  { method, path, body }: ControlRequest,
): Promise<Reply> {
  if (/^\/ecs(\/|$)/.test(path)) return answerEcsControl(ecs, { method, path, body });
  if (path === '/nodes') {
    if (method !== 'GET') return methodNotAllowed(method, path, 'GET');
    return jsonReply({ nodes: [...nodes.values()].map(describeNode) });
  }
  const [, id = '', action] = /^\/nodes\/([^/]+)(?:\/(faults|notices|restart))?$/.exec(path) ?? [];
  if (id === '') return problem(404, 'nothing is here; GET /nodes lists the simulated nodes', { instance: path });
  const node = nodes.get(id);
  if (!node) return problem(404, `no simulated node has the id ${id}; GET /nodes lists them`, { instance: path });
  const allowed = action === undefined ? 'GET' : action === 'restart' ? 'POST' : 'PUT';
  if (method !== allowed) return methodNotAllowed(method, path, allowed);
  try {
    if (action !== undefined) await change(node, action, body);
  } catch (error) {
    if (error instanceof UsageError) return problem(400, error.message, { instance: path });
    throw error;
  }
  return jsonReply(describeNode(node));
}

async function change(node: NodeSimulation, action: string, body: string): Promise<void> {
  if (action === 'faults') await node.setFaults(parseFaults(parseControlBody(body)));
  else if (action === 'notices') node.setNotices(parseNotices(parseControlBody(body)));
  else await node.restartAgent({ wipeCheckpoint: parseWipe(body === '' ? {} : parseControlBody(body)) });
}

function parseWipe(value: unknown): boolean {
  const { wipeCheckpoint = false } = requireObject('restart', ['wipeCheckpoint'], value);
  if (typeof wipeCheckpoint === 'boolean') return wipeCheckpoint;
  throw new UsageError(`restart: wipeCheckpoint: expected true or false, got ${JSON.stringify(wipeCheckpoint)}`);
}

function describeNode(simulation: NodeSimulation): unknown {
  const { node, imdsEndpoint, introspectionEndpoint } = simulation;
  const { instanceId, privateIpAddress, cluster } = node;
  const endpoints = { imdsEndpoint, introspectionEndpoint };
  return {
    instanceId,
    privateIpAddress,
    cluster,
    ...endpoints,
    faults: simulation.faults(),
    notices: simulation.notices(),
  };
}
