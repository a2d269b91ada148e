import { machineName } from './machine.ts';
import type { Muster } from './muster.ts';

export interface WantedCluster {
  /** The one that was asked for, if any. */
  readonly cluster: string | null;
  /** Where ECS was asked for it, if it was. */
  readonly region: string | null;
}

/** What an operator should look at although every machine answered. */
export function doubts({ answered }: Muster, { cluster, region }: WantedCluster): string[] {
  return answered.flatMap(({ machine, node }) => {
    const name = machineName(machine);
    const found: string[] = [];
    const { address } = machine;
    if (address !== null && address !== node.privateIpAddress && address !== node.publicIpAddress) {
      found.push(`${name} answers as ${node.privateIpAddress ?? 'no address'}, fleet has another address for it`);
    }
    if (node.containerInstanceArn === null) {
      found.push(`${name} has no container instance yet: its ecs-agent is not up or could not register`);
    } else if (cluster !== null && node.cluster !== null && node.cluster !== cluster) {
      found.push(`${name} is in cluster ${node.cluster}, not ${cluster}: its ecs-agent was told another ECS_CLUSTER`);
    } else {
      // A cluster of the same name in another region is another cluster, and both may exist.
      const there = node.containerInstanceArn.split(':')[3];
      if (region !== null && there !== region) {
        found.push(
          `${name} is in cluster ${node.cluster} of ${there}, not ${region}: its ecs-agent has another AWS_REGION`,
        );
      }
    }
    if (node.health.status !== 'passing') found.push(`${name} is ${node.health.status}`);
    return found;
  });
}
