import type { Clock } from '../../src/lib/clock.ts';
import { remove } from './remove.ts';
import type { Scheduler, Timer } from './scheduler.ts';

/** A simulated machine: its clocks, its processes, and whether they move. */
export interface Host {
  readonly name: string;
  start(): Process;
  isFrozen(): boolean;
  /** Nothing of it moves until `thaw`; its clocks go on. */
  freeze(): void;
  thaw(): void;
  /** All processes end without a word, and the monotonic clock starts anew. */
  reboot(): void;
  /** Sets the wall clock off by so much. */
  jumpWall(ms: number): void;
  /** How fast its clocks go, such as 1.0001. */
  drift(rate: number): void;
  monotonicMs(): number;
  wallMs(): number;
}

export interface Process {
  readonly clock: Clock;
  /** Runs `act` once the host moves; never, if the process has ended by then. */
  deliver(act: () => void): void;
  isAlive(): boolean;
  /** Ends it without a word: no timer of it fires, and nothing reaches it any more. */
  kill(): void;
  /** How many sleeps are under way. */
  sleeps(): number;
}

const EPOCH_MS = Date.UTC(2026, 0, 1);

/** An hour after the boot. */
const UP_MS = 3_600_000;

/** As the system's clock does: whole milliseconds, rounded up, and at least one. */
function timerMs(delayMs: number): number {
  return Math.max(1, Math.ceil(delayMs));
}

export function createHost(name: string, scheduler: Scheduler): Host {
  const processes = new Set<Process>();
  let frozen = false;
  let waiting: (() => void)[] = [];
  // Both clocks are straight lines from here.
  let since = { trueMs: scheduler.nowMs(), monotonicMs: UP_MS, wallMs: EPOCH_MS + scheduler.nowMs() };
  let rate = 1;

  const elapsedMs = () => (scheduler.nowMs() - since.trueMs) * rate;
  const monotonicMs = () => since.monotonicMs + elapsedMs();
  const wallMs = () => since.wallMs + elapsedMs();
  const rebase = () => {
    since = { trueMs: scheduler.nowMs(), monotonicMs: monotonicMs(), wallMs: wallMs() };
  };

  /** The first of what waits. */
  const wake = () => {
    if (!frozen) waiting.shift()?.();
  };
  /** Behind all that waits already, also while that is being woken. */
  const wait = (act: () => void) => {
    waiting.push(act);
    if (!frozen) scheduler.after(0, wake);
  };

  function start(): Process {
    let timers: Timer[] = [];
    let alive = true;
    const deliver = (act: () => void) => {
      if (frozen || waiting.length > 0) wait(() => alive && act());
      else if (alive) act();
    };
    const sleep: Clock['sleep'] = (delayMs, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(signal.reason);
          return;
        }
        const onAbort = () => {
          remove(timers, timer);
          timer.cancel();
          reject(signal.reason);
        };
        const timer = scheduler.after(timerMs(delayMs) / rate, () =>
          deliver(() => {
            if (!remove(timers, timer)) return;
            signal.removeEventListener('abort', onAbort);
            resolve();
          }),
        );
        timers.push(timer);
        signal.addEventListener('abort', onAbort, { once: true });
      });
    const process: Process = {
      clock: { monotonicMs, wallMs, sleep },
      deliver,
      isAlive: () => alive,
      kill() {
        alive = false;
        for (const timer of timers) timer.cancel();
        timers = [];
        processes.delete(process);
      },
      sleeps: () => timers.length,
    };
    processes.add(process);
    return process;
  }

  return {
    name,
    start,
    isFrozen: () => frozen,
    freeze() {
      frozen = true;
    },
    thaw() {
      frozen = false;
      // One after the other, as the kernel wakes them.
      for (let n = 0; n < waiting.length; n += 1) scheduler.after(0, wake);
    },
    reboot() {
      for (const process of processes) process.kill();
      frozen = false;
      waiting = [];
      rebase();
      since = { ...since, monotonicMs: 10_000 };
    },
    jumpWall(ms) {
      rebase();
      since = { ...since, wallMs: since.wallMs + ms };
    },
    drift(next) {
      rebase();
      rate = next;
    },
    monotonicMs,
    wallMs,
  };
}
