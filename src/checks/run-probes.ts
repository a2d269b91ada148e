import { statSync } from 'node:fs';
import type { Clock } from '../lib/clock.ts';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { describeError } from '../lib/errors.ts';
import { type Observation, reasonFrom } from './check.ts';
import { commandProbe } from './command-probe.ts';
import { diskProbe } from './disk-probe.ts';
import { dockerProbe } from './docker-probe.ts';
import { httpProbe } from './http-probe.ts';
import { createLeftBehindFinder } from './left-behind.ts';
import { type CheckConfig, noAnswer, type OpenProbe, type Probe } from './probe.ts';

/**
 * The delay from the start to the first run of probe `index` (from 0) of `count`, in ms. First runs are spread over one
 * interval, and each later run is due a whole number of intervals after the first, so that probes never all run at once.
 * A loop that slept one interval after each run would drift by the run's duration, and in time runs would coincide.
 */
export function firstRunMs(index: number, count: number, intervalMs: number): number {
  return (intervalMs * index) / count;
}

/**
 * The instant of the next run: a whole number of intervals after `dueMs`, and later than `nowMs`. Runs that a long run
 * has missed are skipped. @param dueMs when the last run was due, not when it began or ended
 */
export function nextRunMs(dueMs: number, intervalMs: number, nowMs: number): number {
  const passed = Math.max(0, Math.floor((nowMs - dueMs) / intervalMs));
  const nextMs = dueMs + intervalMs * (passed + 1);
  // Rounding may give an instant that is not after `nowMs`.
  return nextMs > nowMs ? nextMs : nextMs + intervalMs;
}

interface RunProbeOptions {
  readonly probe: Probe;
  /** Delay before the first run. */
  readonly delayMs: number;
  /** Bad results from the start on that make a verdict; until then the runs follow each other sooner. */
  readonly fall: number;
  readonly clock: Clock;
  /** Called after each run. */
  readonly onResult: (seen: Observation, durationMs: number) => void;
  /** Called at each step of the loop, so that `/healthz` sees progress. */
  readonly onStep: () => void;
}

/** Between the second and the third run of a probe that fails from the start on; doubled each time. */
const FIRST_PAUSE_MS = 1_000;
/** A probe may take its own timeout plus 1 s. This long after its timeout the loop stops waiting for it. */
const GRACE_MS = 2_000;

/**
 * Runs a probe periodically until `signal` aborts. Due times do not depend on how long a run takes, so that probes stay
 * spread.
 */
export async function runProbe(options: RunProbeOptions, signal: AbortSignal): Promise<never> {
  const { probe, clock, onStep } = options;
  const firstMs = clock.monotonicMs() + options.delayMs;
  let dueMs = firstMs;
  let passed = false;
  let runs = 0;
  for (;;) {
    onStep();
    await clock.sleep(dueMs - clock.monotonicMs(), signal);
    onStep();
    const startMs = clock.monotonicMs();
    const seen = await observe(probe, clock, signal);
    const nowMs = clock.monotonicMs();
    options.onResult(seen, nowMs - startMs);
    passed ||= seen.status === 'passing';
    runs += 1;
    // What fails at the start runs again at once, then after growing pauses: the host may be busy booting.
    const isSoon = !passed && runs < options.fall;
    const soonMs = nowMs + Math.min(probe.intervalMs, runs === 1 ? 0 : FIRST_PAUSE_MS * 2 ** (runs - 2));
    const regularMs = nextRunMs(firstMs, probe.intervalMs, nowMs);
    dueMs = isSoon ? Math.min(soonMs, regularMs) : regularMs;
  }
}

async function observe(probe: Probe, clock: Clock, signal: AbortSignal): Promise<Observation> {
  try {
    return await withDeadline(clock, probe.timeoutMs + GRACE_MS, signal, probe.name, probe.run);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof DeadlineError) return noAnswer(probe.timeoutMs);
    return { status: 'critical', reason: reasonFrom(describeError(error)) };
  }
}

interface OpenProbes {
  readonly probes: readonly Probe[];
  /** Closes connections and waits, up to 1 s, for the child processes of aborted runs. */
  close(): Promise<void>;
}

interface ProbeDependencies {
  readonly clock: Clock;
  /** The environment of the commands. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Names this agent process, among others of the machine. */
  readonly owner: string;
}

/** Opens the configured probes. Docker's is omitted if its socket does not exist, because not every node mounts it. */
export function openProbes(config: CheckConfig, { clock, env, owner }: ProbeDependencies): OpenProbes {
  const { dockerSocket, disk, intervalMs, timeoutMs } = config;
  const common = { intervalMs, timeoutMs, clock };
  const docker =
    dockerSocket !== null && isSocket(dockerSocket) ? [dockerProbe({ ...common, socketPath: dockerSocket })] : [];
  const http = config.http.map((check) => httpProbe({ ...common, check }));
  const findLeftBehind = createLeftBehindFinder();
  // Two agents on one machine, as on a test, hardly begin with the same one.
  const first = [...owner].reduce((sum, character) => sum + character.charCodeAt(0), 0);
  const exec = config.exec.map((check, at) =>
    commandProbe({ ...common, check, env, owner, ordinal: first + at, findLeftBehind }),
  );
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
    return false; // missing, or not readable for this user
  }
}
