import type { CommandResult } from '../../lifecycle/run-command.ts';
import { Backoff } from '../../timing/backoff.ts';
import { formatDuration } from '../../timing/duration.ts';

/** What becomes of an event once its handler has run. */
export type AfterAttempt =
  | { readonly kind: 'finished' }
  | { readonly kind: 'retry'; readonly delayMs: number }
  | { readonly kind: 'given-up' };

export interface Attempt {
  /** null: it worked. */
  readonly failure: string | null;
  /** 1 for the first. */
  readonly number: number;
  /** Attempts allowed after the first. */
  readonly retries: number;
  /** Evenly distributed in [0, 1). */
  readonly random: number;
}

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;

export function afterAttempt({ failure, number, retries, random }: Attempt): AfterAttempt {
  if (failure === null) return { kind: 'finished' };
  if (number > retries) return { kind: 'given-up' };
  return { kind: 'retry', delayMs: new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS, number - 1).delayMs(random) };
}

/** Why a run of a handler does not count, for a person; null when it does. */
export function failureOf(
  result: Pick<CommandResult, 'status' | 'signal' | 'timedOut'>,
  timeoutMs: number,
): string | null {
  if (result.timedOut) return `no end within ${formatDuration(timeoutMs)}`;
  if (result.signal !== null) return `ended by ${result.signal}`;
  if (result.status === null) return 'it could not be ended';
  return result.status === 0 ? null : `exit status ${result.status}`;
}
