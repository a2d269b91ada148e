import type { AgentReport } from '../http/agent-report.ts';

/** What `systemctl status` shows of an agent: who it is on the roll, or what it waits for; pure, and it does not tick. */
export function describeStatus(report: Pick<AgentReport, 'record' | 'lease' | 'sources' | 'loops'>): string {
  const { record, lease, sources, loops } = report;
  const stuck = loops.find((loop) => loop.ageMs > loop.limitMs);
  if (stuck) return `stuck: the loop ${stuck.name} makes no step`;
  if (lease.state === 'superseded') return 'superseded: another agent took the seat of this node';
  if (!record) {
    const host = sources.find(({ name }) => name === 'host');
    const cause = (host ?? sources.find(({ name }) => name === 'imds'))?.lastError;
    return `waiting for the ${host ? 'SSM registration' : 'EC2 metadata'}${cause ? `: ${cause}` : ''}`;
  }
  const name = `${record.ec2InstanceId} in ${record.cluster ?? 'no cluster yet'}`;
  if (lease.state !== 'held' || !lease.believedGood) {
    const cause = lease.lastError ? `: ${lease.lastError}` : '';
    return `not on the roll: ${name} waits for ${lease.store}${cause}`;
  }
  const { status, checks } = record.health;
  const worst = status === 'passing' ? undefined : checks.find((check) => check.status === status);
  return `registered as ${name}, ${status}${worst ? ` (${worst.name}: ${worst.reason})` : ''}`;
}
