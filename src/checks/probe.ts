import type { Clock } from '../lib/clock.ts';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { formatDuration } from '../lib/duration.ts';
import type { Observation } from './check.ts';

/** Checks one thing on the node; it runs periodically. */
export interface Probe {
  /** Name of the check. */
  readonly name: string;
  readonly intervalMs: number;
  /** A run settles within this time plus 1 s (to kill child processes), also if it is aborted. */
  readonly timeoutMs: number;
  /** One run. A rejection counts as critical, with the error as its reason, unless `signal` aborted. */
  readonly run: (signal: AbortSignal) => Promise<Observation>;
}

/** A probe with connections or child processes to close. */
export interface OpenProbe extends Probe {
  /** Closes connections; resolves when no child process of an aborted run is left. */
  readonly close: () => Promise<unknown>;
}

/** The result of a run that took too long. The reason has the limit and not the elapsed time, so that it stays the same. */
export const noAnswer = (timeoutMs: number): Observation => ({
  status: 'critical',
  reason: `no answer within ${formatDuration(timeoutMs)}`,
});

/** Runs `run` for at most `timeoutMs`. @throws the errors of `run`, or the reason of `signal` */
export async function runWithin(
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<Observation>,
): Promise<Observation> {
  try {
    return await withDeadline(clock, timeoutMs, signal, 'the check', run);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof DeadlineError) return noAnswer(timeoutMs);
    throw error;
  }
}

/** The configured checks of an agent; those of its sources and its store are not here. */
export interface CheckConfig {
  /** Path of docker's socket; null: no check. There is none either if the socket does not exist at the start. */
  readonly dockerSocket: string | null;
  readonly disk: DiskCheckConfig | null;
  readonly http: readonly HttpCheckConfig[];
  readonly exec: readonly ExecCheckConfig[];
  /** Between two runs of one check. */
  readonly intervalMs: number;
  /** Deadline of one run; less than the interval. */
  readonly timeoutMs: number;
  /** Equal results in a row before a change to a better status; ≥ 1. */
  readonly rise: number;
  /** The same for a change to a worse status; ≥ 1. */
  readonly fall: number;
}

export interface DiskCheckConfig {
  /** Absolute path of any file or directory on the file system. */
  readonly path: string;
  /** Below this percentage of free space or free inodes the check is `warning`. */
  readonly warningPercent: number;
  /** Below this percentage it is `critical`; less than `warningPercent`. */
  readonly criticalPercent: number;
}

export interface HttpCheckConfig {
  readonly name: string;
  /** http or https, without user and password. */
  readonly url: string;
}

export interface ExecCheckConfig {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
}
