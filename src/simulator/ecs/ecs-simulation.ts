import type { ServerResponse } from 'node:http';
import type { Clock } from '../../timing/clock.ts';
import { type HttpListener, openHttpListener } from '../http-listener.ts';
import { readBody } from '../read-body.ts';
import { sendDelivery } from '../send-delivery.ts';
import { REGION } from '../simulated-node.ts';
import type { SignedRequest } from './authenticate.ts';
import { clusterArn } from './cluster-arn.ts';
import { type EcsDelivery, type EcsState, initialEcsState, respondEcs } from './respond-ecs.ts';
import { withCluster } from './world.ts';

export interface EcsSimulationOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly accountId: string;
  /** Names of those that there are from the start, in the simulated region. */
  readonly clusters: readonly string[];
  readonly clock: Clock;
}

/** The ECS endpoint of the simulated fleet. */
export interface EcsSimulation {
  readonly endpoint: string;
  readonly clock: Clock;
  state(): EcsState;
  /** What waits under a fault that this ends gets no answer any more. */
  change(step: (state: EcsState) => EcsState): void;
  close(): Promise<void>;
}

/** More than any request needs: 100 ARNs are 15 kB. */
const MAX_BODY_BYTES = 262_144;
/** Each agent of a fleet may hold one. */
const MAX_CONNECTIONS = 1_100;

/** @throws RollcallError in one line when the address cannot be listened on */
export async function startEcsSimulation(options: EcsSimulationOptions): Promise<EcsSimulation> {
  const { host, port, accountId, clock } = options;
  let state = initialEcsState(accountId);
  for (const name of options.clusters) {
    state = { ...state, world: withCluster(state.world, clusterArn(accountId, REGION, name)) };
  }
  const held = new Set<ServerResponse>();

  const answer = async (request: SignedRequest, res: ServerResponse): Promise<void> => {
    const responded = respondEcs(state, request, { wallMs: clock.wallMs(), nowMs: clock.monotonicMs() });
    state = responded.state;
    await deliver(responded.delivery, res);
  };
  const deliver = async (delivery: EcsDelivery, res: ServerResponse): Promise<void> => {
    const gone = new AbortController();
    held.add(res);
    res.once('close', () => {
      held.delete(res);
      gone.abort();
    });
    if (delivery.kind === 'never') return;
    if (delivery.delayMs > 0) await clock.sleep(delivery.delayMs, gone.signal);
    sendDelivery(res, 'POST', delivery);
  };

  const listener: HttpListener = await openHttpListener({
    host,
    port,
    maxConnections: MAX_CONNECTIONS,
    onRequest: async (req, res) => {
      try {
        const body = await readBody(req, MAX_BODY_BYTES);
        if (body === null) res.writeHead(413, { Connection: 'close' }).end();
        else await answer({ method: req.method ?? '', path: req.url ?? '', headers: req.headers, body }, res);
      } catch {
        res.destroy(); // the client left, or the simulation ends
      }
    },
  });
  return {
    endpoint: listener.url,
    clock,
    state: () => state,
    change: (step) => {
      const before = state.faults;
      state = step(state);
      if (state.faults !== before) for (const res of held) res.destroy();
    },
    close: listener.close,
  };
}
