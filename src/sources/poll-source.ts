import { Backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { describeError } from '../lib/errors.ts';

/** Results of a source's reads so far. Instants are on the monotonic clock. */
export interface SourceStatus {
  readonly name: string;
  readonly lastSuccessAtMs: number | null;
  readonly lastError: string | null;
  /** What of the last answer could not be read and does not matter: one line each. */
  readonly notes: readonly string[];
  readonly lastDurationMs: number | null;
  readonly reads: number;
  readonly failures: number;
}

/** `incomplete` says what is missing from a usable answer; null if nothing is. */
export interface SourceAnswer<T> {
  readonly value: T;
  readonly incomplete: string | null;
  /** See `SourceStatus`; default: none. */
  readonly notes?: readonly string[];
}

interface PollOptions<T> {
  readonly name: string;
  readonly read: (signal: AbortSignal) => Promise<SourceAnswer<T>>;
  /** Pause between two reads. Up to a tenth is subtracted at random, so that the nodes do not read at the same time. */
  readonly intervalMs: number;
  /** Deadline of one whole read. */
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** Called after each read, with the answer or the error. */
  readonly onRead: (result: { readonly value: T } | { readonly error: string }, status: SourceStatus) => void;
  /** Called at each step of the loop, so that `/healthz` sees progress. */
  readonly onStep: () => void;
}

/**
 * Reads a source periodically until `signal` aborts. Until the first complete answer it reads more often, at first within
 * a second, with full jitter, because the node may be booting. Later failures do not change the interval: checks count them.
 */
export async function pollSource<T>(options: PollOptions<T>, signal: AbortSignal): Promise<never> {
  const { name, clock, random, intervalMs, deadlineMs } = options;
  let status: SourceStatus = {
    name,
    lastSuccessAtMs: null,
    lastError: null,
    notes: [],
    lastDurationMs: null,
    reads: 0,
    failures: 0,
  };
  let backoff = new Backoff(Math.min(1_000, intervalMs), intervalMs);
  for (;;) {
    options.onStep();
    const startMs = clock.monotonicMs();
    let result: { readonly value: T } | { readonly error: string };
    let problem: string | null;
    let notes: readonly string[] = [];
    try {
      const answer = await withDeadline(clock, deadlineMs, signal, name, options.read);
      result = { value: answer.value };
      problem = answer.incomplete;
      notes = answer.notes ?? [];
    } catch (error) {
      signal.throwIfAborted();
      problem = describeError(error);
      result = { error: problem };
    }
    const nowMs = clock.monotonicMs();
    const failed = problem !== null;
    status = {
      name,
      lastSuccessAtMs: failed ? status.lastSuccessAtMs : nowMs,
      lastError: problem,
      notes,
      lastDurationMs: nowMs - startMs,
      reads: status.reads + 1,
      failures: status.failures + (failed ? 1 : 0),
    };
    options.onRead(result, status);
    const booting = status.lastSuccessAtMs === null;
    const delayMs = booting ? backoff.delayMs(random()) : intervalMs * (1 - random() / 10);
    backoff = backoff.next();
    options.onStep();
    await clock.sleep(delayMs, signal);
  }
}
