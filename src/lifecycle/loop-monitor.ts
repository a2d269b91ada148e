import type { Clock } from '../timing/clock.ts';

/** How long ago a loop last moved, and how long it may take at most. */
export interface LoopAge {
  readonly name: string;
  readonly ageMs: number;
  readonly limitMs: number;
}

export interface LoopMonitor {
  /**
   * Registers a loop that promises to move at least every `limitMs` while it runs; the answer is to be called at each of
   * its steps, the first as it starts to run. Loops of one kind share a name, and the one nearest to its limit speaks for
   * all, so that the number of names is known beforehand.
   * @param runs false while the loop has nothing to do and may stand still; default: always true
   */
  track(name: string, limitMs: number, runs?: () => boolean): () => void;
  /** Of the loops that run, by name. */
  ages(): LoopAge[];
}

/** Knows which of our own loops still move: the truth behind `/healthz`. */
export function createLoopMonitor(clock: Clock): LoopMonitor {
  const loops: { name: string; limitMs: number; runs: () => boolean; steppedAtMs: number }[] = [];
  return {
    track(name, limitMs, runs = () => true) {
      const loop = { name, limitMs, runs, steppedAtMs: clock.monotonicMs() };
      loops.push(loop);
      return () => {
        loop.steppedAtMs = clock.monotonicMs();
      };
    },
    ages() {
      const nowMs = clock.monotonicMs();
      const worst = new Map<string, LoopAge>();
      for (const { name, limitMs, runs, steppedAtMs } of loops) {
        if (!runs()) continue;
        const age = { name, limitMs, ageMs: nowMs - steppedAtMs };
        const other = worst.get(name);
        if (!other || age.ageMs - age.limitMs > other.ageMs - other.limitMs) worst.set(name, age);
      }
      return [...worst.values()];
    },
  };
}
