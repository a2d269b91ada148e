export type Unit = 'ms' | 'MB' | 'times' | 'count';

/** One number of a report. MB are 10⁶ bytes. */
export interface Figure {
  readonly name: string;
  readonly unit: Unit;
  readonly measured: number;
  /** null: told for comparison, not judged. */
  readonly limit: Limit | null;
  /** The same measured of something else in the same run. */
  readonly peer: { readonly name: string; readonly measured: number } | null;
}

export interface Limit {
  readonly relation: 'under' | 'at most';
  readonly value: number;
}

/** A figure that is judged by nothing. */
export function plainFigure(name: string, unit: Unit, measured: number): Figure {
  return { name, unit, measured, limit: null, peer: null };
}
