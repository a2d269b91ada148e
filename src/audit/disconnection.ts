import type { NodeRecord } from '../record/record.ts';
import type { Sighting } from './audit-memory.ts';

/** A few minutes, several times an hour, are normal: https://repost.aws/knowledge-center/ecs-agent-disconnected-linux2-ami */
export const LONG_DISCONNECTED_MS = 5 * 60_000;
/** Of an agent that is away for a moment now and then, one look in a hundred finds it so; hardly three in a row. */
const MIN_AUDITS = 3;

export interface Disconnection {
  /** It is known to have lasted longer than `LONG_DISCONNECTED_MS`. */
  readonly long: boolean;
  /** The earliest instant from which on it is known (RFC 3339); null: nothing is known. */
  readonly since: string | null;
  /** How that is known. */
  readonly reason: string;
}

/**
 * For how long an agent that is disconnected now has been: ECS does not say. Evidence is the node's own check of its
 * ecs-agent, which is not connected while it does not run, and what earlier audits saw.
 * @param sighting what the audits before this one saw in a row
 */
export function judgeDisconnection(record: NodeRecord, sighting: Sighting | null, nowMs: number): Disconnection {
  const isLong = (since: string) => nowMs - Date.parse(since) > LONG_DISCONNECTED_MS;
  const check = record.health.checks.find(({ name }) => name === 'ecs-agent');
  if (check && check.status !== 'passing' && isLong(check.since)) {
    const said = check.reason === '' ? '' : `: ${check.reason}`;
    return { long: true, since: check.since, reason: `its own check ecs-agent is ${check.status} since then${said}` };
  }
  if (sighting && sighting.audits + 1 >= MIN_AUDITS && isLong(sighting.firstAt)) {
    return { long: true, since: sighting.firstAt, reason: 'each audit since then found its ecs-agent disconnected' };
  }
  if (sighting) {
    return {
      long: false,
      since: sighting.firstAt,
      reason: 'audits since then found its ecs-agent disconnected; not for long enough yet',
    };
  }
  return { long: false, since: null, reason: 'its ecs-agent is disconnected; ECS does not say for how long' };
}
