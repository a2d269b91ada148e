import { HEALTH_STATUSES, type HealthStatus } from '../record/record.ts';

/** 0 for passing, higher for worse. */
export function severity(status: HealthStatus): number {
  return HEALTH_STATUSES.indexOf(status);
}
