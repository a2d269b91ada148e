import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Delivery } from './delivery.ts';
import { type HttpListener, openHttpListener } from './http-listener.ts';
import { sendDelivery } from './send-delivery.ts';
import type { SimulatedRequest } from './simulated-answer.ts';

export interface SimulatedServerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly respond: (request: SimulatedRequest) => Delivery;
}

export interface SimulatedServer extends HttpListener {
  /** Breaks the connections of requests that were to get no answer. */
  releaseHeld(): void;
}

/** Carries out deliveries. @throws RollcallError in one line when the address cannot be listened on */
export async function startSimulatedServer({ host, port, respond }: SimulatedServerOptions): Promise<SimulatedServer> {
  const held = new Set<ServerResponse>();
  const listener = await openHttpListener({
    host,
    port,
    onRequest: (req, res) => {
      // Nothing here has a use for a body; unread, it would block the connection.
      req.resume();
      const delivery = respond(toRequest(req));
      if (delivery.kind !== 'never') return sendDelivery(res, req.method, delivery);
      held.add(res);
      res.once('close', () => held.delete(res));
    },
  });
  return {
    ...listener,
    releaseHeld: () => {
      for (const res of held) res.destroy();
    },
  };
}

function toRequest(req: IncomingMessage): SimulatedRequest {
  return { method: req.method ?? 'GET', path: (req.url ?? '/').split('?', 1)[0] ?? '/', headers: req.headers };
}
