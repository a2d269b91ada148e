import type { IncomingMessage } from 'node:http';
import createRouter from 'find-my-way';
import { hostAllowed } from './host-allowed.ts';
import { problem } from './problem.ts';
import type { Handler, Reply, Routes } from './reply.ts';
import type { ServerLimits } from './server-limits.ts';

/** Finds and calls the handler of a request. Rejects with what the handler throws. */
export type Answer = (req: IncomingMessage, signal: AbortSignal) => Promise<Reply>;

/**
 * Everything that is the same for all paths: 404, 405, and what is refused before a handler sees it.
 * @param listenHost decides which `Host` headers are answered; see `hostAllowed`
 */
export function createAnswer(routes: Routes, listenHost: string, limits: ServerLimits): Answer {
  const router = createRouter({ maxParamLength: limits.maxUrlChars, onBadUrl: unused });
  // As the route's store, because the router's own handlers write to the response, and ours return a reply.
  for (const [path, handler] of Object.entries(routes)) router.on('GET', path, unused, handler);

  return async (req, signal) => {
    const path = pathOf(req);
    const refused = refusal(req, path, listenHost, limits);
    if (refused) return refused;
    const found = router.find('GET', path);
    if (!found) return problem(404, 'nothing is here; / lists what is', { instance: path });
    const handler: Handler | null = found.store;
    if (!handler) return problem(400, 'the path is not valid percent-encoding', { instance: path });
    const { method, headers, socket } = req;
    if (method !== 'GET' && method !== 'HEAD') {
      const detail = `method ${method} is not allowed; GET and HEAD are`;
      return problem(405, detail, { instance: path, headers: { Allow: 'GET, HEAD' } });
    }
    if (hasBody(req)) return problem(413, 'this server takes no request bodies', { instance: path });
    const query = new URLSearchParams(req.url?.split('?').slice(1).join('?'));
    return handler({ method, path, params: found.params, query, headers, port: socket.localPort ?? 0, signal });
  };
}

function refusal(req: IncomingMessage, path: string, listenHost: string, limits: ServerLimits): Reply | null {
  const { host } = req.headers;
  if (!hostAllowed(listenHost, host)) {
    return problem(421, `host ${host?.slice(0, 100)} is not answered on ${listenHost}; use localhost or 127.0.0.1`);
  }
  const chars = req.url?.length ?? 0;
  if (chars > limits.maxUrlChars) {
    return problem(414, `the address has ${chars} characters; at most ${limits.maxUrlChars} are taken`);
  }
  if (!path.startsWith('/')) return problem(400, 'this is no proxy; ask for a path', { instance: path });
  return null;
}

export function pathOf(req: IncomingMessage): string {
  return req.url?.split(/[?#]/, 1)[0] ?? '';
}

/** A body that nobody reads must not be taken for the next request: its connection has to be closed. */
export function hasBody(req: IncomingMessage): boolean {
  return req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0;
}

function unused(): void {}
