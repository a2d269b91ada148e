import { createHash } from 'node:crypto';

/** Who a simulated node is. Equal arguments make an equal node, so that a restart of the simulator is one of no node. */
export interface SimulatedNode {
  readonly instanceId: string;
  readonly privateIpAddress: string;
  readonly privateDnsName: string;
  readonly region: string;
  readonly availabilityZone: string;
  readonly instanceType: string;
  readonly imageId: string;
  readonly accountId: string;
  readonly architecture: string;
  readonly instanceLifecycle: 'on-demand' | 'spot';
  /** RFC 3339. */
  readonly pendingTime: string;
  readonly machineId: string;
  readonly cluster: string;
}

const FIRST_ADDRESS = 23;
export const REGION = 'us-east-1';
export const ACCOUNT_ID = '123456789012';

export interface Fleet {
  /** Fleets of different seeds share no id. */
  readonly seed: string;
  readonly cluster: string;
  /** The nodes go round `cluster`, `cluster-2`, `cluster-3` …; default: 1. */
  readonly clusters?: number;
}

/** Of a fleet, in the order in which its nodes go round them. */
export function clusterNames({ cluster, clusters = 1 }: Omit<Fleet, 'seed'>): readonly string[] {
  return Array.from({ length: clusters }, (_, index) => (index === 0 ? cluster : `${cluster}-${index + 1}`));
}

/** @param index from 0 */
export function simulatedNode(index: number, { seed, ...named }: Fleet): SimulatedNode {
  const names = clusterNames(named);
  const cluster = names[index % names.length] ?? named.cluster;
  // Within its cluster, so that each has nodes of all zones and life cycles.
  const rank = Math.floor(index / names.length);
  const fleet = { seed, cluster };
  const address = FIRST_ADDRESS + index;
  const privateIpAddress = `10.113.${address >> 8}.${address & 255}`;
  return {
    instanceId: `i-${derive(fleet, index, 'instance').slice(0, 17)}`,
    privateIpAddress,
    privateDnsName: `ip-${privateIpAddress.replaceAll('.', '-')}.ec2.internal`,
    region: REGION,
    availabilityZone: `${REGION}${'abc'[rank % 3]}`,
    instanceType: 'm5.large',
    imageId: `ami-${derive(fleet, 0, 'image').slice(0, 17)}`,
    accountId: ACCOUNT_ID,
    architecture: 'x86_64',
    instanceLifecycle: rank % 4 === 3 ? 'spot' : 'on-demand',
    pendingTime: '2026-11-22T09:00:00Z',
    machineId: derive(fleet, index, 'machine').slice(0, 32),
    cluster,
  };
}

/**
 * @param generation rises by one each time ecs-agent loses its checkpoint and registers anew
 * @param withCluster the newer form, which names the cluster
 */
export function containerInstanceArn(node: SimulatedNode, generation: number, withCluster: boolean): string {
  const hex = derive({ seed: node.instanceId, cluster: node.cluster }, generation, 'arn');
  const uuid = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
  const path = withCluster ? `${node.cluster}/${uuid}` : uuid;
  return `arn:aws:ecs:${node.region}:${node.accountId}:container-instance/${path}`;
}

/** 64 hex digits. */
function derive({ seed, cluster }: Fleet, index: number, purpose: string): string {
  return createHash('sha256')
    .update(JSON.stringify([seed, cluster, index, purpose]))
    .digest('hex');
}
