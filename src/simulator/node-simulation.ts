import type { Clock } from '../lib/clock.ts';
import { startSimulatedServer } from './listener.ts';
import { type AgentVersion, answerImds, answerIntrospection, deliver } from './node-answers.ts';
import { type Faults, NO_FAULTS, NO_NOTICES, type Notices, type SimulatedNode } from './simulated-node.ts';

interface NodeSimulationOptions {
  readonly node: SimulatedNode;
  readonly host: string;
  /** 0: a free port. */
  readonly imdsPort: number;
  readonly introspectionPort: number;
  readonly clock: Clock;
  readonly allowV1: boolean;
  readonly agentVersion: AgentVersion;
  /** Called with the events that ECS sees of this node's ecs-agent. */
  readonly ecsAgent?: EcsAgentLink;
}

export interface EcsAgentLink {
  /** ecs-agent registers: at the start, and with each new generation. */
  registered(generation: number): void;
  /** ecs-agent connects to ECS or disconnects. */
  connected(connected: boolean): void;
}

/** One node's two servers, with their faults. */
export interface NodeSimulation {
  readonly node: SimulatedNode;
  readonly imdsEndpoint: string;
  readonly introspectionEndpoint: string;
  faults(): Faults;
  notices(): Notices;
  /** Sets faults; a server that is not named keeps its fault. */
  setFaults(faults: Partial<Faults>): Promise<void>;
  setNotices(notices: Partial<Notices>): void;
  /** Restarts ecs-agent, which breaks its connections. With a wiped checkpoint it registers with a new ARN. */
  restartAgent(options: { readonly wipeCheckpoint: boolean }): Promise<void>;
  close(): Promise<void>;
}

/** @throws RollcallError if it cannot listen on a port; then nothing keeps running */
export async function startNodeSimulation(options: NodeSimulationOptions): Promise<NodeSimulation> {
  const { node, host, clock, allowV1, agentVersion: version, ecsAgent } = options;
  let faults = NO_FAULTS;
  let notices = NO_NOTICES;
  let generation = 0;

  const imds = await startSimulatedServer({
    host,
    port: options.imdsPort,
    respond: (request) => {
      const state = { node, notices, allowV1, tokenSecret: node.machineId, nowMs: clock.monotonicMs() };
      return deliver(faults.imds, request, answerImds(state, request));
    },
  });
  const startIntrospection = startSimulatedServer({
    host,
    port: options.introspectionPort,
    respond: (request) => {
      const fault = faults.introspection;
      const variant = fault === 'null-arn' || fault === 'cluster-arn' ? fault : 'none';
      return deliver(fault, request, answerIntrospection({ node, version, generation, variant }, request.path));
    },
  });
  const introspection = await startIntrospection.catch(async (error: unknown) => {
    await imds.close();
    throw error;
  });
  ecsAgent?.registered(generation);

  return {
    node,
    imdsEndpoint: imds.url,
    introspectionEndpoint: introspection.url,
    faults: () => faults,
    notices: () => notices,
    setFaults: async (changed) => {
      const wasUp = faults.introspection !== 'refuse';
      faults = { ...faults, ...changed };
      const isUp = faults.introspection !== 'refuse';
      if (isUp !== wasUp) ecsAgent?.connected(isUp);
      // Requests that hang because of the old fault end now.
      imds.releaseHeld();
      introspection.releaseHeld();
      await Promise.all([imds.setListening(faults.imds !== 'refuse'), introspection.setListening(isUp)]);
    },
    setNotices: (changed) => {
      notices = { ...notices, ...changed };
    },
    restartAgent: async ({ wipeCheckpoint }) => {
      await introspection.setListening(false);
      const isUp = faults.introspection !== 'refuse';
      if (wipeCheckpoint) generation += 1;
      if (wipeCheckpoint) ecsAgent?.registered(generation);
      ecsAgent?.connected(isUp);
      await introspection.setListening(isUp);
    },
    close: async () => {
      await Promise.all([imds.close(), introspection.close()]);
    },
  };
}
