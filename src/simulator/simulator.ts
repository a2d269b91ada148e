import { RollcallError, UsageError } from '../errors.ts';
import { clusterName } from '../sources/ecs-arn.ts';
import type { Clock } from '../timing/clock.ts';
import type { AgentVersion } from './answer-introspection.ts';
import { startControlServer } from './control-server.ts';
import { ecsAgentLink } from './ecs/ecs-agent-link.ts';
import { type EcsSimulation, startEcsSimulation } from './ecs/ecs-simulation.ts';
import type { Faults } from './faults.ts';
import { MAX_CLUSTERS, MAX_NODES } from './max-nodes.ts';
import { type NodeSimulation, startNodeSimulation } from './node-simulation.ts';
import type { Notices } from './notices.ts';
import { ACCOUNT_ID, clusterNames, simulatedNode } from './simulated-node.ts';

export interface SimulatorOptions {
  /** 1…1000. */
  readonly nodes: number;
  /** Where the nodes' servers listen; the control server is on 127.0.0.1 in any case. */
  readonly host?: string;
  /** 0: free ports. Else the control server's, followed by IMDS and introspection of each node in turn, and by ECS. */
  readonly basePort: number;
  readonly cluster: string;
  /** See `Fleet`; 1…20, default 1. */
  readonly clusters?: number;
  /** Whether there is an ECS endpoint that knows the nodes, on 127.0.0.1. */
  readonly ecs?: boolean;
  /** Equal seeds make equal nodes. */
  readonly seed: string;
  readonly clock: Clock;
  /** Whether IMDS answers without a token too. */
  readonly allowV1?: boolean;
  readonly agentVersion?: AgentVersion;
}

/** The setters reject with a RollcallError for an id that no node has. */
export interface Simulator {
  readonly nodes: readonly Pick<NodeSimulation, 'node' | 'imdsEndpoint' | 'introspectionEndpoint'>[];
  readonly controlUrl: string;
  /** null: without one. */
  readonly ecsEndpoint: string | null;
  setFault(instanceId: string, faults: Partial<Faults>): Promise<void>;
  setNotices(instanceId: string, notices: Partial<Notices>): Promise<void>;
  restartAgent(instanceId: string, options: { readonly wipeCheckpoint: boolean }): Promise<void>;
  /** Closes all ports and connections. */
  close(): Promise<void>;
}

/**
 * Simulated nodes, each with an IMDS and an ecs-agent introspection server of its own, and one control server.
 * @throws UsageError for options out of range, RollcallError when a port is in use; then nothing is left running
 */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  checkOptions(options);
  const { cluster, clusters = 1, seed, clock, basePort } = options;
  const { host = '127.0.0.1', allowV1 = false, agentVersion = '1.70.0' } = options;
  const simulations = new Map<string, NodeSimulation>();
  const port = (offset: number) => (basePort === 0 ? 0 : basePort + offset);
  let ecs: EcsSimulation | null = null;
  const closeNodes = () => Promise.all([...[...simulations.values()].map((one) => one.close()), ecs?.close()]);
  try {
    if (options.ecs) {
      const ecsOptions = { host: '127.0.0.1', port: port(1 + 2 * options.nodes), accountId: ACCOUNT_ID, clock };
      ecs = await startEcsSimulation({ ...ecsOptions, clusters: clusterNames({ cluster, clusters }) });
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
      throw new RollcallError(`simulated node ${instanceId}: there is none; ${control.url}/nodes lists them`);
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

function checkOptions({ nodes, basePort, cluster, clusters = 1, ecs = false }: SimulatorOptions): void {
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MAX_NODES) {
    throw new UsageError(`simulate ${nodes} nodes: choose 1 to ${MAX_NODES}`);
  }
  if (!Number.isInteger(clusters) || clusters < 1 || clusters > MAX_CLUSTERS) {
    throw new UsageError(`simulate ${clusters} clusters: choose 1 to ${MAX_CLUSTERS}`);
  }
  const highest = 65_535 - 2 * nodes - (ecs ? 1 : 0);
  if (!Number.isInteger(basePort) || basePort < 0 || basePort > highest) {
    throw new UsageError(`base port ${basePort}: ${nodes} nodes need one of 1 to ${highest}, or 0 for free ports`);
  }
  // An ARN names a cluster too, but it is no name.
  const longest = clusterNames({ cluster, clusters }).at(-1) ?? cluster;
  if (clusterName(longest) !== longest) {
    throw new UsageError(`cluster "${cluster}": expected letters, digits, - and _, at most 255 of them`);
  }
}
