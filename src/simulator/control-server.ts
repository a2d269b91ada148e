import type { IncomingMessage } from 'node:http';
import { describeError } from '../errors.ts';
import { hostAllowed } from '../http/host-allowed.ts';
import { problem } from '../http/problem.ts';
import type { Reply } from '../http/reply.ts';
import { sendReply } from '../http/send-reply.ts';
import { answerControl } from './control-routes.ts';
import type { EcsSimulation } from './ecs/ecs-simulation.ts';
import { type HttpListener, openHttpListener } from './http-listener.ts';
import type { NodeSimulation } from './node-simulation.ts';
import { readBody } from './read-body.ts';

/** Whoever reaches it can break the simulated nodes, so it is for this machine alone, wherever the nodes listen. */
const HOST = '127.0.0.1';

const MAX_BODY_BYTES = 16_384;

/** @throws RollcallError in one line when the port cannot be listened on */
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
      const reply = await answer(req, nodes, ecs).catch((error: unknown) => problem(500, describeError(error)));
      // What is left of a refused body must not be taken for the next request.
      const headers = req.complete ? { ...reply.headers } : { ...reply.headers, Connection: 'close' };
      await sendReply(req, res, { ...reply, headers }, gone.signal).catch(() => res.destroy());
    },
  });
}

async function answer(
  req: IncomingMessage,
  nodes: ReadonlyMap<string, NodeSimulation>,
  ecs: EcsSimulation | null,
): Promise<Reply> {
  const path = (req.url ?? '/').split('?', 1)[0] ?? '/';
  const { host } = req.headers;
  if (!hostAllowed(HOST, host))
    return problem(421, `host ${host} is not answered here; use ${HOST}`, { instance: path });
  const body = await readBody(req, MAX_BODY_BYTES);
  if (body === null) return problem(413, `the body is longer than ${MAX_BODY_BYTES} bytes`, { instance: path });
  return answerControl(nodes, ecs, { method: req.method ?? 'GET', path, body });
}
