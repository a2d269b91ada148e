import type { Machine } from './machine.ts';
import type { RollNode } from './roll-node.ts';

export interface Muster {
  readonly answered: readonly { readonly machine: Machine; readonly node: RollNode }[];
  readonly missing: readonly { readonly machine: Machine; readonly reason: string }[];
}

/**
 * Which of fleet's machines have answered the roll.
 * @param oldSessions of agents from before the unit was deployed: their presence proves nothing about it
 */
export function muster(
  machines: readonly Machine[],
  roll: readonly RollNode[],
  oldSessions: ReadonlySet<string>,
): Muster {
  const answered: Muster['answered'][number][] = [];
  const missing: Muster['missing'][number][] = [];
  for (const machine of machines) {
    const nodes = roll.filter((node) => isOn(machine, node));
    const present = nodes.filter((node) => node.presence.state === 'present');
    const node = present.find(({ sidecar }) => !oldSessions.has(sidecar.session));
    if (node) answered.push({ machine, node });
    else missing.push({ machine, reason: reasonOf(nodes, present, atAddress(machine, roll)) });
  }
  return { answered, missing };
}

/** The id decides. The address does only for an agent that was not given its machine id. */
function isOn(machine: Machine, node: RollNode): boolean {
  if (node.machineId !== null) return node.machineId === machine.id;
  return hasAddress(machine, node);
}

function hasAddress({ address }: Machine, node: RollNode): boolean {
  return address !== null && (address === node.privateIpAddress || address === node.publicIpAddress);
}

function atAddress(machine: Machine, roll: readonly RollNode[]): RollNode | undefined {
  return roll.find((node) => node.presence.state === 'present' && hasAddress(machine, node));
}

function reasonOf(nodes: readonly RollNode[], present: readonly RollNode[], neighbour: RollNode | undefined): string {
  const [old] = present;
  if (old)
    return `${old.ec2InstanceId} still answers through an agent from before the unit was deployed, which systemctl restart rollcall ends there`;
  const [node] = nodes;
  if (!node && neighbour) {
    return `${neighbour.ec2InstanceId} answers from its address, but as machine ${neighbour.machineId}`;
  }
  if (!node) return 'it never answered at this store';
  if (node.departure) return `${node.ec2InstanceId} departed (${node.departure.cause}) at ${node.departure.at}`;
  return `${node.ec2InstanceId} is lost: its agent ended without a goodbye or is cut off from the store`;
}
