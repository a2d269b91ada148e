import { formatDuration } from '../../lib/duration.ts';
import type { HealthStatus, Interruption, NodeRecord } from '../../record/record.ts';
import { noticeDueInMs } from '../notice-due.ts';

export const DRAIN_CAUSES = ['interruption', 'critical'] as const;
export type DrainCause = (typeof DRAIN_CAUSES)[number];

/** How claims of drain slots name the cause that a node is critical. */
const CRITICAL_CAUSE = 'critical';

/** A notice as a cause to drain: its kind, action and time, in one line. A notice with another time is another cause. */
function noticeCause({ kind, action, time }: Interruption): string {
  return [kind, action, time && `at ${time}`].filter(Boolean).join(' ');
}

/** The causes for which an agent may drain a node with this record; at most two. */
export function standingCauses({
  interruption,
  health,
}: Pick<NodeRecord, 'interruption' | 'health'>): readonly string[] {
  const notice = interruption ? [noticeCause(interruption)] : [];
  return health.status === 'critical' ? [...notice, CRITICAL_CAUSE] : notice;
}

export interface DrainConfig {
  /** At least one. */
  readonly on: readonly DrainCause[];
  /** How long a node has to be critical to be drained, and not critical to be active again. */
  readonly criticalAfterMs: number;
  /** Of the present nodes of the cluster, 0 to 100; one node may drain always. */
  readonly maxSharePercent: number;
}

/** Since when the node is, or is not, critical. Instants are on the monotonic clock. */
export interface HealthWatch {
  readonly critical: boolean;
  readonly sinceMs: number;
}

/** `untilMs`: when to judge again though nothing changed, on the monotonic clock; infinite: never. */
export type CauseVerdict =
  /** The node is to be drained. `key`: the cause as claims name it, the same for as long as it stands. */
  | { readonly kind: 'stands'; readonly reason: string; readonly key: string }
  /** What rollcall drained may be active again. */
  | { readonly kind: 'over'; readonly untilMs: number }
  | { readonly kind: 'undecided'; readonly reason: string; readonly untilMs: number };

/** A read of the notices changes nothing in the record when there are none. */
const NOTICES_SOON_MS = 5_000;

/** @param before null at the start, which counts as the beginning of either */
export function watchHealth(before: HealthWatch | null, status: HealthStatus, nowMs: number): HealthWatch {
  const critical = status === 'critical';
  return before?.critical === critical ? before : { critical, sinceMs: nowMs };
}

export interface CauseInput {
  readonly record: Pick<NodeRecord, 'interruption' | 'health' | 'clockSkewSeconds'>;
  readonly health: HealthWatch;
  /** The notices were all read at least once by this process: until then "none" is not known. */
  readonly noticesKnown: boolean;
  readonly nowMs: number;
  readonly wallMs: number;
}

/** Whether there is a cause to drain; pure. */
export function judgeCause(config: DrainConfig, input: CauseInput): CauseVerdict {
  const { record, health, noticesKnown, nowMs, wallMs } = input;
  const noticeInMs = config.on.includes('interruption') ? noticeDueInMs(record, wallMs) : Number.POSITIVE_INFINITY;
  if (record.interruption && noticeInMs <= 0) {
    const reason = noticeCause(record.interruption);
    return { kind: 'stands', reason, key: reason };
  }
  const dueMs = health.sinceMs + config.criticalAfterMs;
  const noticeDueMs = nowMs + noticeInMs;
  const limit = formatDuration(config.criticalAfterMs);
  if (config.on.includes('critical')) {
    if (health.critical && nowMs >= dueMs) {
      return { kind: 'stands', reason: `critical for ${limit}${worst(record)}`, key: CRITICAL_CAUSE };
    }
    if (nowMs < dueMs) {
      const reason = `${health.critical ? 'critical' : 'not critical'} for less than ${limit}`;
      return { kind: 'undecided', reason, untilMs: Math.min(dueMs, noticeDueMs) };
    }
  }
  if (!noticesKnown && config.on.includes('interruption')) {
    const reason = 'EC2 has not said yet whether there is a notice';
    return { kind: 'undecided', reason, untilMs: nowMs + NOTICES_SOON_MS };
  }
  return { kind: 'over', untilMs: noticeDueMs };
}

function worst({ health }: Pick<NodeRecord, 'health'>): string {
  const check = health.checks.find(({ status }) => status === 'critical');
  return check ? `: check ${check.name}` : '';
}
