import type { Started, TaskNeeds } from '../ecs/ecs-api.ts';
import { printable } from '../lib/foreign-text.ts';
import type { Candidate, PassedOver } from './judge-nodes.ts';
import { closestNode } from './place-tasks.ts';

export interface PlacementReport {
  readonly cluster: string;
  readonly needs: TaskNeeds;
  /** The node of each task. */
  readonly placements: readonly Candidate[];
  /** null without --why. */
  readonly passedOver: readonly PassedOver[] | null;
  /** null without --start. */
  readonly started: Started | null;
}

/** A placement for stdout. Text is the argument of `aws ecs start-task --container-instances`; ndjson has one line per task. */
export function renderPlacement(format: 'text' | 'wide' | 'json' | 'ndjson', report: PlacementReport): string {
  const { cluster, needs, passedOver, started } = report;
  const placements = report.placements.map(({ instanceId, containerInstanceArn, privateIpAddress }) => ({
    containerInstanceArn,
    ec2InstanceId: instanceId,
    privateIpAddress,
  }));
  if (format === 'json') {
    const parts = {
      ...(started ? started : {}),
      ...(passedOver ? { passedOver: passedOver.map(passedOverJson) } : {}),
    };
    return `${JSON.stringify({ cluster, needs, placements, ...parts }, null, 2)}\n`;
  }
  if (format === 'ndjson') {
    const lines = [...(started?.tasks ?? placements), ...(started?.failures ?? [])];
    return lines.map((each) => `${JSON.stringify(each)}\n`).join('');
  }
  return placements.map(({ containerInstanceArn }) => `${printable(containerInstanceArn)}\n`).join('');
}

export function taskLine({ taskArn, containerInstanceArn }: Started['tasks'][number]): string {
  return `${printable(`${taskArn} ${containerInstanceArn}`)}\n`;
}

const MAX_LINE = 400;

/** One line for the user: `passed over i-0abc 10.0.0.1: memory: needs 512 MiB, has 128 left`. At most 400 characters. */
export function whyLine(passedOver: PassedOver): string {
  const { instanceId, containerInstanceArn, privateIpAddress, reason } = passedOver;
  const node = [instanceId ?? containerInstanceArn ?? 'unknown node', privateIpAddress].filter((part) => part !== null);
  return printable(`passed over ${node.join(' ')}: ${reason}`).slice(0, MAX_LINE);
}

interface Refusal {
  readonly cluster: string;
  readonly needs: TaskNeeds;
  readonly count: number;
  readonly room: number;
  readonly passedOver: readonly PassedOver[];
}

/** Why nothing was placed, with the closest node, in one line. */
export function refusalText({ cluster, needs, count, room, passedOver }: Refusal): string {
  const tasks = `${count === 1 ? 'a task' : `${count} tasks, each`} of ${needsText(needs)}`;
  const closest = closestNode(passedOver);
  if (!closest) return `no room in ${cluster} for ${tasks}: the cluster has no container instance`;
  const of = `${passedOver.length} ${passedOver.length === 1 ? 'node' : 'nodes'}`;
  const found = room === 0 ? `none of its ${of} is suitable` : `only ${room} would fit`;
  return `no room in ${cluster} for ${tasks}: ${found}; closest: ${whyLine(closest).replace('passed over ', '')}; --why explains each node`;
}

function needsText({ cpuUnits, memoryMiB, ports, portsUdp }: TaskNeeds): string {
  const all = [...ports.map(String), ...portsUdp.map((port) => `${port}/udp`)];
  const parts = [`${cpuUnits} CPU units`, `${memoryMiB} MiB`, ...(all.length > 0 ? [`port ${all.join(', ')}`] : [])];
  return `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`;
}

/** With the field names of the roll's JSON. */
function passedOverJson({ instanceId, containerInstanceArn, privateIpAddress, test, reason }: PassedOver) {
  return { ec2InstanceId: instanceId, containerInstanceArn, privateIpAddress, test, reason };
}
