import type { RollEntry } from '../record/roll.ts';
import { arnScope, clusterOf } from './arn-scope.ts';
import type { Known } from './known.ts';
import type { Verdict } from './verdict.ts';

/** A present node of whose EC2 instance ECS has no registration now. It is a stray only where ECS would have one. */
export function judgeUnmatched(node: RollEntry, { byArn, clusters, all, scopes }: Known): Verdict {
  const { record } = node;
  const verdict = { instance: null, node, record, since: null, reason: '' };
  const arn = record.containerInstanceArn;
  const cluster = clusterOf(record);
  if (!all && cluster !== null && !clusters.includes(cluster)) return { ...verdict, kind: 'elsewhere' };
  const trouble = agentTrouble(node);
  if (arn === null) {
    return { ...verdict, kind: 'unregistered', reason: `its ecs-agent has named no container instance yet${trouble}` };
  }
  if (!scopes.has(arnScope(arn)) || (!all && cluster === null)) return { ...verdict, kind: 'elsewhere' };
  const holder = byArn.get(arn);
  if (holder && holder.status !== 'INACTIVE') {
    const reason = `ECS has its container instance as ${holder.ec2InstanceId ?? 'that of another node'}: was its disk copied?${trouble}`;
    return { ...verdict, kind: 'mismatch', reason };
  }
  if (holder) return { ...verdict, kind: 'stray', reason: `ECS has deregistered it (INACTIVE)${trouble}` };
  if (cluster !== null && !clusters.includes(cluster)) {
    return { ...verdict, kind: 'stray', reason: `ECS has no cluster ${cluster}${trouble}` };
  }
  return { ...verdict, kind: 'stray', reason: `ECS does not know its container instance${trouble}` };
}

function agentTrouble({ record }: RollEntry): string {
  const check = record.health.checks.find(({ name }) => name === 'ecs-agent');
  if (!check || check.status === 'passing') return '';
  return `; its check ecs-agent is ${check.status} since ${check.since}${check.reason === '' ? '' : `: ${check.reason}`}`;
}
