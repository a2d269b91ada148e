import type { Clock } from '../src/lib/clock.ts';
import type { Figure } from './figure.ts';
import type { Cleanup } from './support/cleanup.ts';

export interface Benchmark {
  /** As the command line names it. */
  readonly name: string;
  /** What is measured and how, in one line for the reader of the figures. */
  readonly about: string;
  /** @throws when it could not be measured; a figure over its limit is a figure like others */
  run(context: BenchContext): Promise<readonly Figure[]>;
}

export interface BenchContext {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  /** Aborts when the run is interrupted. */
  readonly signal: AbortSignal;
  /** Takes back what the benchmark started, however it ends. */
  readonly cleanup: Cleanup;
  /** A fraction of the work, to see that the benchmark runs. */
  readonly quick: boolean;
  readonly progress: (line: string) => void;
}
