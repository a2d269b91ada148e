import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

export const TURN_MS = 40;
const CORES = availableParallelism();

/**
 * How much slower the machine works for each process because others run beside it: runnable processes per core, at
 * least 1. Source: `procs_running` of /proc/stat, proc(5).
 */
function slowdown(): number {
  const running = /^procs_running (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1];
  return Math.max(1, Number(running ?? 1) / CORES);
}

/**
 * Counts machine time: the milliseconds that pass on an idle machine, a fraction of them on a busy one. A bound in
 * machine time is as strict on an idle machine as one on the wall clock, and does not fail because the machine is busy.
 */
export function startMachineTimer(): { readonly elapsedMs: () => number; readonly tick: () => void } {
  let elapsedMs = 0;
  let lastMs = performance.now();
  const tick = () => {
    const nowMs = performance.now();
    elapsedMs += (nowMs - lastMs) / slowdown();
    lastMs = nowMs;
  };
  return { tick, elapsedMs: () => elapsedMs };
}

/**
 * Asks again and again until `condition` holds; answers how long that took, in milliseconds of machine time.
 * @throws Error with the last answer or error of `condition` when it does not hold within `limitMs` of machine time, or
 * the reason of `signal`
 */
export async function until(
  what: string,
  limitMs: number,
  condition: () => Promise<boolean> | boolean,
  { everyMs = TURN_MS, signal }: { readonly everyMs?: number; readonly signal?: AbortSignal } = {},
): Promise<number> {
  const timer = startMachineTimer();
  let last: unknown = 'false';
  while (timer.elapsedMs() < limitMs) {
    signal?.throwIfAborted();
    try {
      if (await condition()) {
        timer.tick();
        return timer.elapsedMs();
      }
      last = 'false';
    } catch (error) {
      last = error;
    }
    await sleep(everyMs);
    timer.tick();
  }
  throw new Error(`not within ${limitMs} ms: ${what} (last: ${last})`);
}

/**
 * Waits for `work`; answers its result, how long it took in milliseconds of machine time (for upper bounds), and in
 * milliseconds of the wall clock (for lower bounds).
 */
export async function timed<T>(work: Promise<T>): Promise<[result: T, tookMs: number, wallMs: number]> {
  const startMs = performance.now();
  const timer = startMachineTimer();
  const ticking = setInterval(timer.tick, TURN_MS);
  try {
    const result = await work;
    timer.tick();
    return [result, timer.elapsedMs(), performance.now() - startMs];
  } finally {
    clearInterval(ticking);
  }
}
