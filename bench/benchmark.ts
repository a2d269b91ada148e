import type { Clock } from '../src/lib/clock.ts';

export interface Benchmark {
  /** Its name on the command line. */
  readonly name: string;
  /** What is measured and how, in one line for the reader of the figures. */
  readonly about: string;
  /** @throws when it could not be measured; a figure over its limit is no failure */
  run(context: BenchContext): Promise<readonly Figure[]>;
}

export interface BenchContext {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  /** Aborts when the run is interrupted. */
  readonly signal: AbortSignal;
  /** Undoes what the benchmark started, however it ends. Helpers of the tests take it in place of a test. */
  readonly cleanup: Cleanup;
  /** Do a fraction of the work, to see that the benchmark runs. */
  readonly quick: boolean;
  /** How many agents a benchmark of a fleet runs; null: its default. */
  readonly nodes: number | null;
  /** For how long a fleet rests; null: the default. */
  readonly restMs: number | null;
  readonly progress: (line: string) => void;
}

export type Unit = 'ms' | 'MB' | 'times' | 'count';

/** One number of a report. MB are 10⁶ bytes. */
export interface Figure {
  readonly name: string;
  readonly unit: Unit;
  readonly measured: number;
  /** null: reported for comparison, without a verdict. */
  readonly limit: Limit | null;
  /** The same measured for another program in the same run. */
  readonly peer: { readonly name: string; readonly measured: number } | null;
}

export interface Limit {
  readonly relation: 'under' | 'at most';
  readonly value: number;
}

/** A figure without limit and peer. */
export function plainFigure(name: string, unit: Unit, measured: number): Figure {
  return { name, unit, measured, limit: null, peer: null };
}

/** Whether a number keeps its limit; NaN keeps none. */
export function judge(measured: number, { relation, value }: Limit): 'within' | 'over' {
  const kept = relation === 'under' ? measured < value : measured <= value;
  return kept ? 'within' : 'over';
}

/**
 * The `share` quantile (0…1) of the values, interpolated between its two neighbours: 0.5 is the median.
 * @throws RangeError for no values
 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)];
  const above = sorted[Math.ceil(place)];
  if (below === undefined || above === undefined) throw new RangeError('a quantile needs at least one value');
  return below + (above - below) * (place - Math.floor(place));
}

export interface Cleanup {
  /** Registers what undoes a step. After `run` was called, `undo` runs at once. */
  after(undo: () => Promise<unknown>): void;
  /** Undoes everything, newest first, also when one undo fails; the first failure is thrown at the end. */
  run(): Promise<void>;
}

export function createCleanup(): Cleanup {
  const undos: (() => Promise<unknown>)[] = [];
  let over = false;
  return {
    after(undo) {
      if (over) void undo().catch(() => {});
      else undos.push(undo);
    },
    async run() {
      over = true;
      const failures: unknown[] = [];
      for (const undo of undos.splice(0).reverse()) await undo().catch((error: unknown) => failures.push(error));
      if (failures.length > 0) throw failures[0];
    },
  };
}
