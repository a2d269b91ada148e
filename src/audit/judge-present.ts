import type { ContainerInstance } from '../ecs/container-instance.ts';
import type { RollEntry } from '../record/roll.ts';
import { recall } from './audit-memory.ts';
import { judgeDisconnection } from './disconnection.ts';
import { judgeUnmatched } from './judge-unmatched.ts';
import type { Known } from './known.ts';
import { type Verdict, verdictKey } from './verdict.ts';

/** A present node and all that ECS has of its EC2 instance: its registration now, and perhaps former ones left behind. */
export function judgePresent(node: RollEntry, registrations: readonly ContainerInstance[], known: Known): Verdict[] {
  const current = currentRegistration(node, registrations);
  const rest = registrations.filter((instance) => instance !== current);
  return [
    current ? judgeMatched(node, current, known) : judgeUnmatched(node, known),
    ...rest.map((instance) => judgeSurplus(node, instance, current)),
  ];
}

/**
 * The one that the node's record names, unless it is dead and another lives. A dead one that the record does not name
 * is a former one; but where the record names none, the newest is the best there is.
 */
function currentRegistration(
  { record }: RollEntry,
  registrations: readonly ContainerInstance[],
): ContainerInstance | null {
  const arn = record.containerInstanceArn;
  const newestFirst = registrations.toSorted(
    (a, b) =>
      compareText(b.registeredAt ?? '', a.registeredAt ?? '') ||
      compareText(a.containerInstanceArn, b.containerInstanceArn),
  );
  const named = newestFirst.find((instance) => instance.containerInstanceArn === arn) ?? null;
  if (named?.agentConnected) return named;
  const alive = newestFirst.find((instance) => instance.agentConnected);
  return alive ?? named ?? (arn === null ? (newestFirst[0] ?? null) : null);
}

function judgeMatched(node: RollEntry, instance: ContainerInstance, { memory, nowMs }: Known): Verdict {
  const { record } = node;
  const verdict = { instance, node, record, since: null, reason: '' };
  const { containerInstanceArn: arn, cluster } = record;
  // What the record does not know is not another.
  if (arn !== null && arn !== instance.containerInstanceArn) {
    return {
      ...verdict,
      kind: 'mismatch',
      reason: `its record says ${arn}${cluster === null ? '' : ` in ${cluster}`}`,
    };
  }
  if (cluster !== null && cluster !== instance.cluster) {
    return { ...verdict, kind: 'mismatch', reason: `its record says cluster ${cluster}, ECS ${instance.cluster}` };
  }
  if (instance.status === 'DEREGISTERING') {
    return { ...verdict, kind: 'deregistering', reason: 'ECS is deregistering it; its node is present' };
  }
  if (instance.status === 'REGISTRATION_FAILED') {
    return {
      ...verdict,
      kind: 'stray',
      reason: 'ECS could not register it (REGISTRATION_FAILED) and runs no tasks on it',
    };
  }
  if (instance.agentConnected || instance.status === 'REGISTERING') return { ...verdict, kind: 'agreeing' };
  const key = verdictKey({ ...verdict, kind: 'disconnected' });
  const { long, since, reason } = judgeDisconnection(record, recall(memory, key, nowMs), nowMs);
  return { ...verdict, kind: long ? 'disconnected' : 'disconnected-now', since, reason };
}

/** Another registration of an EC2 instance whose node is present. */
function judgeSurplus({ record }: RollEntry, instance: ContainerInstance, current: ContainerInstance | null): Verdict {
  const verdict = { instance, node: null, record, since: null };
  if (instance.status === 'DEREGISTERING') {
    return { ...verdict, kind: 'deregistering', reason: 'ECS is deregistering this former registration' };
  }
  const now = current?.containerInstanceArn ?? record.containerInstanceArn;
  if (instance.agentConnected) {
    return { ...verdict, kind: 'mismatch', reason: `connected to ECS twice, also as ${now}` };
  }
  if (instance.status === 'REGISTERING') {
    return { ...verdict, kind: 'registering', reason: `ECS is registering it; so far it is ${now}` };
  }
  const where = record.cluster === null ? '' : ` in ${record.cluster}`;
  return { ...verdict, kind: 'ghost', reason: `a former registration; the node is present${where} as ${now}` };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
