import { machineName } from './machine.ts';
import type { Muster } from './muster.ts';

/** What an operator should look at although every machine answered. @param cluster the one that was asked for, if any */
export function doubts({ answered }: Muster, cluster: string | null): string[] {
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
    }
    if (node.health.status !== 'passing') found.push(`${name} is ${node.health.status}`);
    return found;
  });
}
