import type { Clock } from '../lib/clock.ts';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { formatDuration } from '../lib/duration.ts';
import type { Observation } from './check.ts';

/** Something that looks at one thing of the node, again and again. */
export interface Probe {
  /** Name of the check. */
  readonly name: string;
  readonly intervalMs: number;
  /** A look settles within this time and 1 s more (children that are to be killed take that long), aborted or not. */
  readonly timeoutMs: number;
  /** One look. A rejection counts as critical, with the error as its reason, unless `signal` aborted. */
  readonly look: (signal: AbortSignal) => Promise<Observation>;
}

/** A probe and what it holds open. */
export interface OpenProbe extends Probe {
  /** Ends connections, and resolves when nothing of an aborted look is left. */
  readonly close: () => Promise<unknown>;
}

/** What a look that took too long has seen. The limit is in it, not the time that passed: a reason must not tick. */
export const noAnswer = (timeoutMs: number): Observation => ({
  status: 'critical',
  reason: `no answer within ${formatDuration(timeoutMs)}`,
});

/** Runs a look that may take `timeoutMs` at most. @throws what the look throws, or the reason of `signal` */
export async function lookWithin(
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
  look: (signal: AbortSignal) => Promise<Observation>,
): Promise<Observation> {
  try {
    return await withDeadline(clock, timeoutMs, signal, 'the look', look);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof DeadlineError) return noAnswer(timeoutMs);
    throw error;
  }
}

/** What an agent checks beside its sources and its store, parsed and within its limits. */
export interface CheckConfig {
  /** Path of docker's socket; null: no such check. Where there is no socket at start there is none either. */
  readonly dockerSocket: string | null;
  readonly disk: DiskCheckConfig | null;
  readonly http: readonly HttpCheckConfig[];
  readonly exec: readonly ExecCheckConfig[];
  /** Between the looks of one check. */
  readonly intervalMs: number;
  /** Of one look; less than the interval. */
  readonly timeoutMs: number;
  /** Equal looks in a row that a change for the better takes; ≥ 1. */
  readonly rise: number;
  /** And one for the worse; ≥ 1. */
  readonly fall: number;
}

export interface DiskCheckConfig {
  /** Absolute; any path on the file system in question. */
  readonly path: string;
  /** Percent of free space, and of free inodes, below which the check warns. */
  readonly warningPercent: number;
  /** Less than `warningPercent`. */
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
