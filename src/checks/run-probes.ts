import { statSync } from 'node:fs';
import type { Clock } from '../lib/clock.ts';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { describeError } from '../lib/errors.ts';
import { type Observation, reasonFrom } from './check.ts';
import { commandProbe } from './command-probe.ts';
import { diskProbe } from './disk-probe.ts';
import { dockerProbe, httpProbe } from './http-probe.ts';
import { type CheckConfig, noAnswer, type OpenProbe, type Probe } from './probe.ts';

/**
 * When checks look, so that they never all do at once. Each keeps to a beat of its own: the first looks are spread over
 * one interval, and each later one is due a whole number of intervals after the first, however long the looks take.
 * A loop that slept an interval after each look would drift by what the look took, and in the end meet the others.
 */

/** How long after the start probe `index` (from 0) of `count` looks first, in ms. */
export function firstLookMs(index: number, count: number, intervalMs: number): number {
  return (intervalMs * index) / count;
}

/**
 * When to look next: on the beat of `dueMs`, the instant at which the last look was due (not when it began or ended),
 * and after `nowMs`. Beats that a long look has missed are left out.
 */
export function nextLookMs(dueMs: number, intervalMs: number, nowMs: number): number {
  const passed = Math.max(0, Math.floor((nowMs - dueMs) / intervalMs));
  const nextMs = dueMs + intervalMs * (passed + 1);
  // A beat that is now may be a fraction short of a whole number of intervals: that one has passed.
  return nextMs > nowMs ? nextMs : nextMs + intervalMs;
}

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

export interface OpenProbes {
  readonly probes: readonly Probe[];
  /** Ends their connections and waits, up to 1 s, for the children of looks that were aborted. */
  close(): Promise<void>;
}

interface ProbeDependencies {
  readonly clock: Clock;
  /** The environment that commands run in. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The probes that a configuration asks for. Docker's only where its socket is: not every node has it mounted. */
export function openProbes(config: CheckConfig, { clock, env }: ProbeDependencies): OpenProbes {
  const { dockerSocket, disk, intervalMs, timeoutMs } = config;
  const common = { intervalMs, timeoutMs, clock };
  const docker =
    dockerSocket !== null && isSocket(dockerSocket) ? [dockerProbe({ ...common, socketPath: dockerSocket })] : [];
  const http = config.http.map((check) => httpProbe({ ...common, check }));
  const exec = config.exec.map((check) => commandProbe({ ...common, check, env }));
  const opened: readonly OpenProbe[] = [...docker, ...http, ...exec];
  return {
    probes: [...docker, ...(disk ? [diskProbe({ ...common, disk })] : []), ...http, ...exec],
    async close() {
      await Promise.all(opened.map((probe) => probe.close()));
    },
  };
}

function isSocket(path: string): boolean {
  try {
    return statSync(path).isSocket();
  } catch {
    return false; // not there, or not for us
  }
}
