import type { CheckVerdict } from '../record/record.ts';
import type { CheckState } from './observe-check.ts';

/** A check's state as records and reports tell it. */
export function checkVerdict({ name, status, reason, sinceMs }: CheckState): CheckVerdict {
  return { name, status, reason, since: new Date(sinceMs).toISOString() };
}
