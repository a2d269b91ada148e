import { clusterName } from '../ecs/arn.ts';
import type { Clock } from '../lib/clock.ts';
import { RollcallError, UsageError } from '../lib/errors.ts';
import { startControlServer } from './control.ts';
import { type EcsSimulation, startEcsSimulation } from './ecs/ecs-server.ts';
import { type EcsWorld, registeredInstance, withInstances } from './ecs/world.ts';
import { MAX_CLUSTERS, MAX_NODES } from './limits.ts';
import type { AgentVersion } from './node-answers.ts';
import { type EcsAgentLink, type NodeSimulation, startNodeSimulation } from './node-simulation.ts';
import {
  ACCOUNT_ID,
  containerInstanceArn,
  type Faults,
  fleetClusters,
  type Notices,
  type SimulatedNode,
  simulatedNode,
} from './simulated-node.ts';

/** Passes the events of a node's ecs-agent to the simulated ECS. */
function ecsAgentLink(ecs: EcsSimulation, node: SimulatedNode, agentVersion: string): EcsAgentLink {
  let arn = '';
  const change = (step: (world: EcsWorld) => EcsWorld) =>
    ecs.change((state) => ({ ...state, world: step(state.world) }));
  return {
    registered: (generation) => {
      const before = arn;
      arn = containerInstanceArn(node, generation, agentVersion !== '1.0.0');
      const [wallMs, nowMs] = [ecs.clock.wallMs(), ecs.clock.monotonicMs()];
      // The first registrations count as old, so they are visible at once.
      const visibleFromMs = generation === 0 ? nowMs : nowMs + ecs.state().registrationDelayMs;
      const instance = registeredInstance({ node, agentVersion, generation, wallMs, visibleFromMs });
      change((world) => withInstances(withConnection(world, before, false), [instance]));
    },
    connected: (connected) => change((world) => withConnection(world, arn, connected)),
  };
}

/** An instance that was removed, or has another ARN now, is not added again. */
function withConnection(world: EcsWorld, arn: string, agentConnected: boolean): EcsWorld {
  const instance = world.instances.get(arn);
  return instance ? withInstances(world, [{ ...instance, agentConnected }]) : world;
}

export interface SimulatorOptions {
  /** 1 to 1000. */
  readonly nodes: number;
  /** Address of the nodes' servers. The control server always listens on 127.0.0.1. */
  readonly host?: string;
  /** 0: free ports. Else the port of the control server, followed by IMDS and introspection of each node, then ECS. */
  readonly basePort: number;
  readonly cluster: string;
  /** See `Fleet`; 1 to 20, default 1. */
  readonly clusters?: number;
  /** True: serve an ECS endpoint with the nodes, on 127.0.0.1. */
  readonly ecs?: boolean;
  /** Equal seeds give equal nodes. */
  readonly seed: string;
  readonly clock: Clock;
  /** True: IMDS also answers without a token. */
  readonly allowV1?: boolean;
  readonly agentVersion?: AgentVersion;
}

/** The setters reject with a RollcallError for an unknown id. */
export interface Simulator {
  readonly nodes: readonly Pick<NodeSimulation, 'node' | 'imdsEndpoint' | 'introspectionEndpoint'>[];
  readonly controlUrl: string;
  /** null without `ecs`. */
  readonly ecsEndpoint: string | null;
  setFault(instanceId: string, faults: Partial<Faults>): Promise<void>;
  setNotices(instanceId: string, notices: Partial<Notices>): Promise<void>;
  restartAgent(instanceId: string, options: { readonly wipeCheckpoint: boolean }): Promise<void>;
  /** Closes all ports and connections. */
  close(): Promise<void>;
}

/**
 * Starts simulated nodes, each with its own IMDS and ecs-agent introspection server, and one control server.
 * @throws UsageError for options out of range, RollcallError if a port is in use; then nothing keeps running
 */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  refuseOptions(options);
  const { cluster, clusters = 1, seed, clock, basePort } = options;
  const { host = '127.0.0.1', allowV1 = false, agentVersion = '1.70.0' } = options;
  const simulations = new Map<string, NodeSimulation>();
  const port = (offset: number) => (basePort === 0 ? 0 : basePort + offset);
  let ecs: EcsSimulation | null = null;
  const closeNodes = () => Promise.all([...[...simulations.values()].map((one) => one.close()), ecs?.close()]);
  try {
    if (options.ecs) {
      const ecsOptions = { host: '127.0.0.1', port: port(1 + 2 * options.nodes), accountId: ACCOUNT_ID, clock };
      ecs = await startEcsSimulation({ ...ecsOptions, clusters: fleetClusters({ cluster, clusters }) });
    }
    for (let index = 0; index < options.nodes; index += 1) {
      const node = simulatedNode(index, { seed, cluster, clusters });
      const ports = { imdsPort: port(1 + 2 * index), introspectionPort: port(2 + 2 * index) };
      const link = ecs ? { ecsAgent: ecsAgentLink(ecs, node, agentVersion) } : {};
      const simulation = await startNodeSimulation({ node, host, ...ports, clock, allowV1, agentVersion, ...link });
      simulations.set(node.instanceId, simulation);
    }
    const control = await startControlServer(basePort, simulations, ecs);
    const find = (instanceId: string): NodeSimulation => {
      const found = simulations.get(instanceId);
      if (found) return found;
      throw new RollcallError(`no simulated node has the id ${instanceId}; ${control.url}/nodes lists the nodes`);
    };
    return {
      nodes: [...simulations.values()],
      controlUrl: control.url,
      ecsEndpoint: ecs?.endpoint ?? null,
      setFault: async (instanceId, faults) => find(instanceId).setFaults(faults),
      setNotices: async (instanceId, notices) => find(instanceId).setNotices(notices),
      restartAgent: async (instanceId, how) => find(instanceId).restartAgent(how),
      close: async () => {
        await Promise.all([control.close(), closeNodes()]);
      },
    };
  } catch (error) {
    await closeNodes();
    throw error;
  }
}

function refuseOptions({ nodes, basePort, cluster, clusters = 1, ecs = false }: SimulatorOptions): void {
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MAX_NODES) {
    throw new UsageError(`cannot simulate ${nodes} nodes; use 1 to ${MAX_NODES}`);
  }
  if (!Number.isInteger(clusters) || clusters < 1 || clusters > MAX_CLUSTERS) {
    throw new UsageError(`cannot simulate ${clusters} clusters; use 1 to ${MAX_CLUSTERS}`);
  }
  const highest = 65_535 - 2 * nodes - (ecs ? 1 : 0);
  if (!Number.isInteger(basePort) || basePort < 0 || basePort > highest) {
    throw new UsageError(
      `base port ${basePort} is out of range for ${nodes} nodes; use 1 to ${highest}, or 0 for free ports`,
    );
  }
  // Not an ARN.
  const longest = fleetClusters({ cluster, clusters }).at(-1) ?? cluster;
  if (clusterName(longest) !== longest) {
    throw new UsageError(`cluster "${cluster}": expected letters, digits, - and _, at most 255 of them`);
  }
}
