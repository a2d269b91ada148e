import type { IncomingMessage } from 'node:http';
import { jsonReply, problem, type Reply } from '../http/reply.ts';
import { sendReply } from '../http/send-reply.ts';
import { hostAllowed } from '../http/server.ts';
import { describeError, UsageError } from '../lib/errors.ts';
import { answerEcsControl } from './ecs/ecs-control.ts';
import type { EcsSimulation } from './ecs/ecs-server.ts';
import { type ControlRequest, methodNotAllowed, parseControlBody, readBody, requireObject } from './http.ts';
import { type HttpListener, openHttpListener } from './listener.ts';
import type { NodeSimulation } from './node-simulation.ts';
import { parseFaults, parseNotices } from './simulated-node.ts';

/**
 * The control API: `GET /nodes`, `GET /nodes/{id}`, `PUT /nodes/{id}/faults`, `PUT /nodes/{id}/notices` and
 * `POST /nodes/{id}/restart`. All but the first answer with the node's new state. Errors are RFC 9457 problems. Paths below
 * `/ecs` belong to the simulated ECS.
 */
async function answerControl(
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
  if (id === '') return problem(404, 'unknown path; GET /nodes lists the simulated nodes', { instance: path });
  const node = nodes.get(id);
  if (!node) return problem(404, `no simulated node has the id ${id}; GET /nodes lists the nodes`, { instance: path });
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

/** Always loopback, because the control API can break the simulated nodes. */
const HOST = '127.0.0.1';

const MAX_BODY_BYTES = 16_384;

/** @throws RollcallError if it cannot listen on the port */
export function startControlServer(
  port: number,
  nodes: ReadonlyMap<string, NodeSimulation>,
  ecs: EcsSimulation | null,
): Promise<HttpListener> {
  return openHttpListener({
    host: HOST,
    port,
    onRequest: async (req, res) => {
      const gone = new AbortController();
      res.once('close', () => gone.abort());
      const reply = await answerRequest(req, nodes, ecs).catch((error: unknown) => problem(500, describeError(error)));
      // Close the connection, so that the rest of a refused body is not read as the next request.
      const headers = req.complete ? { ...reply.headers } : { ...reply.headers, Connection: 'close' };
      await sendReply(req, res, { ...reply, headers }, gone.signal).catch(() => res.destroy());
    },
  });
}

async function answerRequest(
  req: IncomingMessage,
  nodes: ReadonlyMap<string, NodeSimulation>,
  ecs: EcsSimulation | null,
): Promise<Reply> {
  const path = (req.url ?? '/').split('?', 1)[0] ?? '/';
  const { host } = req.headers;
  if (!hostAllowed(HOST, host))
    return problem(421, `host ${host} is not allowed here; use ${HOST}`, { instance: path });
  const body = await readBody(req, MAX_BODY_BYTES);
  if (body === null) return problem(413, `the body is longer than ${MAX_BODY_BYTES} bytes`, { instance: path });
  return answerControl(nodes, ecs, { method: req.method ?? 'GET', path, body });
}
