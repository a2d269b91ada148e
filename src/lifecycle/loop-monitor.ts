import type { Clock } from '../timing/clock.ts';

/** How long ago a loop last moved, and how long it may take at most. */
export interface LoopAge {
  readonly name: string;
  readonly ageMs: number;
  readonly limitMs: number;
}

export interface LoopMonitor {
  /** Registers a loop that promises to move at least every `limitMs`; the answer is to be called at each of its steps. */
  track(name: string, limitMs: number): () => void;
  ages(): LoopAge[];
}

/** Knows which of our own loops still move: the truth behind `/healthz`. */
export function createLoopMonitor(clock: Clock): LoopMonitor {
  const loops: { name: string; limitMs: number; steppedAtMs: number }[] = [];
  return {
    track(name, limitMs) {
      const loop = { name, limitMs, steppedAtMs: clock.monotonicMs() };
      loops.push(loop);
      return () => {
        loop.steppedAtMs = clock.monotonicMs();
      };
    },
    ages() {
      const nowMs = clock.monotonicMs();
      return loops.map(({ name, limitMs, steppedAtMs }) => ({ name, limitMs, ageMs: nowMs - steppedAtMs }));
    },
  };
}
