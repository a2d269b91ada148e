import type { Interruption, NodeRecord } from './record.ts';

/** How claims of drain slots name the cause that a node is critical. */
export const CRITICAL_CAUSE = 'critical';

/** A notice as a cause to drain: its kind, action and time, in one line. A notice with another time is another cause. */
export function noticeCause({ kind, action, time }: Interruption): string {
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
