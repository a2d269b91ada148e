import type { Clock } from '../../src/lib/clock.ts';

export interface SimulatedClock extends Clock {
  /**
   * Moves both scales on by `ms` and fires the sleepers that fall due, in the order of their instants, each at its own
   * instant. Between two of them (and at the end) pending promises, immediates and answered I/O get their turn, so a
   * loop that sleeps again is seen within the same advance.
   */
  advance(ms: number): Promise<void>;
  /** Sets the wall clock off by `ms` (negative: back), as a correction by NTP does. The monotonic scale does not notice. */
  jumpWall(ms: number): void;
  /** How many sleeps are under way. */
  sleepers(): number;
}

export interface SimulatedClockOptions {
  readonly monotonicMs?: number;
  /** Default: 2026-01-01T00:00:00Z. */
  readonly wallMs?: number;
}

interface Sleeper {
  readonly dueMs: number;
  readonly wake: () => void;
}

/** A clock that stands still until `advance`. */
export function simulatedClock(options: SimulatedClockOptions = {}): SimulatedClock {
  let nowMs = options.monotonicMs ?? 1_000_000;
  let wallOffsetMs = (options.wallMs ?? Date.UTC(2026, 0, 1)) - nowMs;
  // In the order of their instants; those due at one instant in the order in which they lay down.
  const sleeping: Sleeper[] = [];

  const add = (sleeper: Sleeper): void => {
    let [from, to] = [0, sleeping.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((sleeping[middle]?.dueMs ?? 0) <= sleeper.dueMs) from = middle + 1;
      else to = middle;
    }
    sleeping.splice(from, 0, sleeper);
  };

  const firstDueBy = (untilMs: number): Sleeper | undefined =>
    sleeping[0] && sleeping[0].dueMs <= untilMs ? sleeping[0] : undefined;

  return {
    monotonicMs: () => nowMs,
    wallMs: () => nowMs + wallOffsetMs,
    sleep: (delayMs, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(signal.reason);
          return;
        }
        const onAbort = () => {
          sleeping.splice(sleeping.indexOf(sleeper), 1);
          reject(signal.reason);
        };
        const sleeper: Sleeper = {
          dueMs: nowMs + Math.max(delayMs, 0),
          wake: () => {
            sleeping.shift();
            signal.removeEventListener('abort', onAbort);
            resolve();
          },
        };
        add(sleeper);
        signal.addEventListener('abort', onAbort, { once: true });
      }),
    advance: async (ms) => {
      const untilMs = nowMs + ms;
      await settle();
      for (let sleeper = firstDueBy(untilMs); sleeper; sleeper = firstDueBy(untilMs)) {
        nowMs = Math.max(nowMs, sleeper.dueMs);
        sleeper.wake();
        await settle();
      }
      nowMs = Math.max(nowMs, untilMs);
      await settle();
    },
    jumpWall: (ms) => {
      wallOffsetMs += ms;
    },
    sleepers: () => sleeping.length,
  };
}

/** Three turns of the event loop: enough for a chain of awaits that crosses an immediate or a loopback socket's callback. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
