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
const REGION = 'us-east-1';
export const ACCOUNT_ID = '123456789012';

export interface Fleet {
  /** Fleets of different seeds share no id. */
  readonly seed: string;
  readonly cluster: string;
}

/** @param index from 0 */
export function simulatedNode(index: number, fleet: Fleet): SimulatedNode {
  const address = FIRST_ADDRESS + index;
  const privateIpAddress = `10.113.${address >> 8}.${address & 255}`;
  return {
    instanceId: `i-${derive(fleet, index, 'instance').slice(0, 17)}`,
    privateIpAddress,
    privateDnsName: `ip-${privateIpAddress.replaceAll('.', '-')}.ec2.internal`,
    region: REGION,
    availabilityZone: `${REGION}${'abc'[index % 3]}`,
    instanceType: 'm5.large',
    imageId: `ami-${derive(fleet, 0, 'image').slice(0, 17)}`,
    accountId: ACCOUNT_ID,
    architecture: 'x86_64',
    instanceLifecycle: index % 4 === 3 ? 'spot' : 'on-demand',
    pendingTime: '2026-11-22T09:00:00Z',
    machineId: derive(fleet, index, 'machine').slice(0, 32),
    cluster: fleet.cluster,
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
