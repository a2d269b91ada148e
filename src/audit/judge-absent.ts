import type { ContainerInstance } from '../ecs/container-instance.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';
import type { UnreadableNodes } from '../store/unreadable-nodes.ts';
import type { Verdict } from './verdict.ts';

/** A host registers in ECS before docker has pulled rollcall's image, and ECS sets up the network of one that it is REGISTERING. */
export const JOINING_MS = 5 * 60_000;

/** A container instance whose EC2 instance is not present on the roll. @param entry its last, if there is one; not present */
export function judgeAbsent(
  instance: ContainerInstance,
  entry: RollEntry | null,
  unreadable: UnreadableNodes,
  nowMs: number,
): Verdict {
  const verdict = { instance, node: null, record: entry?.record ?? null, since: null };
  if (instance.status === 'DEREGISTERING') {
    return { ...verdict, kind: 'deregistering', reason: `ECS is deregistering it; ${lastWords(entry)}` };
  }
  const { ec2InstanceId } = instance;
  // Also where there is a record: a presence that cannot be read is one.
  const unread = ec2InstanceId === null ? null : unreadable(ec2InstanceId);
  if (unread !== null) return { ...verdict, kind: 'unreadable', reason: unread };
  if (entry !== null) {
    return {
      ...verdict,
      kind: 'ghost',
      since: entry.record.departure?.at ?? null,
      reason: ghostReason(instance, entry),
    };
  }
  if (ec2InstanceId === null) {
    return {
      ...verdict,
      kind: 'ghost',
      reason: 'ECS does not say which EC2 instance it is, and no present node has its ARN',
    };
  }
  const inEcs = instance.registeredAt === null ? '' : `; registered in ECS at ${instance.registeredAt}`;
  const ageMs = nowMs - Date.parse(instance.registeredAt ?? '');
  if (ageMs <= JOINING_MS) {
    return { ...verdict, kind: 'registering', reason: `has not answered the roll yet${inEcs}` };
  }
  const link = instance.agentConnected
    ? 'its ecs-agent is connected: rollcall does not run there'
    : 'its ecs-agent is not connected';
  return { ...verdict, kind: 'ghost', reason: `never answered the roll, or was forgotten${inEcs}; ${link}` };
}

function ghostReason(instance: ContainerInstance, entry: RollEntry): string {
  const said = lastWords(entry);
  // The host lives: that outranks whatever the record said of its end.
  if (instance.agentConnected) return `${said}; ECS has its agent connected: the host seems to be up, without rollcall`;
  if (!entry.record.departure) return `${said}; ECS has its agent disconnected: the host may be down or cut off`;
  return `${said}; ECS has its agent disconnected, as of a stopped or terminated instance until it is deregistered`;
}

/** What the record of a node that is not present says of its end. */
function lastWords(entry: RollEntry | null): string {
  if (entry === null) return 'it is not on the roll';
  const { health, departure, interruption } = entry.record;
  const end = departure ? `departed (${departure.cause}) at ${departure.at}` : presenceState(entry);
  const troubled = health.checks.find((check) => check.status === health.status);
  const why = health.status === 'passing' || !troubled ? '' : ` (${troubled.name}: ${troubled.reason})`;
  const notice = interruption && !departure ? `, under notice of ${interruption.kind}` : '';
  return `${end}${notice}, last health ${health.status} since ${health.since}${why}`;
}
