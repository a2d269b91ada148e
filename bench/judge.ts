import type { Limit } from './figure.ts';

/** Whether a number keeps its limit. One that is no number keeps none. */
export function judge(measured: number, { relation, value }: Limit): 'within' | 'over' {
  const kept = relation === 'under' ? measured < value : measured <= value;
  return kept ? 'within' : 'over';
}
