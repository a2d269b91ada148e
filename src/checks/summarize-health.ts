import type { Health, HealthStatus } from '../record/record.ts';
import { checkVerdict } from './check-verdict.ts';
import type { CheckState } from './observe-check.ts';
import { severity } from './severity.ts';

/** A node's health from its checks: the worst of them, since the moment the whole became that. */
export function summarizeHealth(previous: Health | null, checks: readonly CheckState[], nowMs: number): Health {
  const status = checks.reduce<HealthStatus>(
    (worst, check) => (severity(check.status) > severity(worst) ? check.status : worst),
    'passing',
  );
  return {
    status,
    since: previous?.status === status ? previous.since : new Date(nowMs).toISOString(),
    checks: checks.map(checkVerdict),
  };
}
