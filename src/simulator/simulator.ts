import { RollcallError, UsageError } from '../errors.ts';
import { clusterName } from '../sources/ecs-arn.ts';
import type { Clock } from '../timing/clock.ts';
import type { AgentVersion } from './answer-introspection.ts';
import { startControlServer } from './control-server.ts';
import type { Faults } from './faults.ts';
import { MAX_NODES } from './max-nodes.ts';
import { type NodeSimulation, startNodeSimulation } from './node-simulation.ts';
import type { Notices } from './notices.ts';
import { simulatedNode } from './simulated-node.ts';

export interface SimulatorOptions {
  /** 1…1000. */
  readonly nodes: number;
  /** Where the nodes' servers listen; the control server is on 127.0.0.1 in any case. */
  readonly host?: string;
  /** 0: free ports. Else the control server's, followed by IMDS and introspection of each node in turn. */
  readonly basePort: number;
  readonly cluster: string;
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
  const { cluster, seed, clock, basePort, host = '127.0.0.1', allowV1 = false, agentVersion = '1.70.0' } = options;
  const simulations = new Map<string, NodeSimulation>();
  const port = (offset: number) => (basePort === 0 ? 0 : basePort + offset);
  const closeNodes = () => Promise.all([...simulations.values()].map((simulation) => simulation.close()));
  try {
    for (let index = 0; index < options.nodes; index += 1) {
      const node = simulatedNode(index, { seed, cluster });
      const ports = { imdsPort: port(1 + 2 * index), introspectionPort: port(2 + 2 * index) };
      const simulation = await startNodeSimulation({ node, host, ...ports, clock, allowV1, agentVersion });
      simulations.set(node.instanceId, simulation);
    }
    const control = await startControlServer(basePort, simulations);
    const find = (instanceId: string): NodeSimulation => {
      const found = simulations.get(instanceId);
      if (found) return found;
      throw new RollcallError(`simulated node ${instanceId}: there is none; ${control.url}/nodes lists them`);
    };
    return {
      nodes: [...simulations.values()],
      controlUrl: control.url,
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

function checkOptions({ nodes, basePort, cluster }: SimulatorOptions): void {
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MAX_NODES) {
    throw new UsageError(`simulate ${nodes} nodes: choose 1 to ${MAX_NODES}`);
  }
  const highest = 65_535 - 2 * nodes;
  if (!Number.isInteger(basePort) || basePort < 0 || basePort > highest) {
    throw new UsageError(`base port ${basePort}: ${nodes} nodes need one of 1 to ${highest}, or 0 for free ports`);
  }
  // An ARN names a cluster too, but it is no name.
  if (clusterName(cluster) !== cluster) {
    throw new UsageError(`cluster "${cluster}": expected letters, digits, - and _, at most 255 of them`);
  }
}
