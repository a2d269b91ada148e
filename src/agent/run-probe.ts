import { noAnswer } from '../checks/look-within.ts';
import type { Observation } from '../checks/observe-check.ts';
import type { Probe } from '../checks/probe.ts';
import { reasonFrom } from '../checks/reason.ts';
import { nextLookMs } from '../checks/stagger.ts';
import { describeError } from '../errors.ts';
import type { Clock } from '../timing/clock.ts';
import { DeadlineError, withDeadline } from '../timing/with-deadline.ts';

export interface RunProbeOptions {
  readonly probe: Probe;
  /** Before the first look, so that probes do not all look at once. */
  readonly delayMs: number;
  readonly clock: Clock;
  /** Called after each look. */
  readonly onLook: (seen: Observation, durationMs: number) => void;
  /** Called at each step of the loop: proof that it moves. */
  readonly onStep: () => void;
}

/** A probe keeps to its own limit and needs up to a second more; this much later nobody waits for it any longer. */
const GRACE_MS = 2_000;

/**
 * Looks again and again until `signal` aborts. Looks keep to the beat of the first one, however long one takes, so that
 * probes that were staggered stay so.
 */
export async function runProbe(options: RunProbeOptions, signal: AbortSignal): Promise<never> {
  const { probe, clock, onStep } = options;
  let dueMs = clock.monotonicMs() + options.delayMs;
  for (;;) {
    onStep();
    await clock.sleep(dueMs - clock.monotonicMs(), signal);
    onStep();
    const startMs = clock.monotonicMs();
    const seen = await look(probe, clock, signal);
    const nowMs = clock.monotonicMs();
    options.onLook(seen, nowMs - startMs);
    dueMs = nextLookMs(dueMs, probe.intervalMs, nowMs);
  }
}

async function look(probe: Probe, clock: Clock, signal: AbortSignal): Promise<Observation> {
  try {
    return await withDeadline(clock, probe.timeoutMs + GRACE_MS, signal, probe.name, probe.look);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof DeadlineError) return noAnswer(probe.timeoutMs);
    return { status: 'critical', reason: reasonFrom(describeError(error)) };
  }
}
