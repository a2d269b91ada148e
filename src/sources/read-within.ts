import { describeError } from '../errors.ts';
import type { Clock } from '../timing/clock.ts';
import { DeadlineError, withDeadline } from '../timing/with-deadline.ts';
import { SourceError } from './source-error.ts';

export interface SourceRead {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** What is being read, for messages: `IMDS meta-data/instance-id`. */
  readonly action: string;
  readonly hostPort: string;
  /** What a refused connection says about this source. */
  readonly refusedMeans: string;
  /** The error for an answer that did not come in time, where there is more to say than that. */
  readonly onSilence?: () => SourceError | null;
}

/**
 * Runs one HTTP read of a source under its deadline.
 * @throws SourceError for whatever went wrong on the wire, or the signal's reason
 */
export async function readWithin<T>(read: SourceRead, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { clock, timeoutMs, signal, action } = read;
  try {
    return await withDeadline(clock, timeoutMs, signal, `${action} at ${read.hostPort}`, work);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof SourceError ? error : wireError(read, error);
  }
}

function wireError(read: SourceRead, cause: unknown): SourceError {
  const { action, hostPort } = read;
  // The cause's text is in the message already, and the innermost causes of undici only repeat it.
  if (cause instanceof DeadlineError) return read.onSilence?.() ?? new SourceError(cause.message);
  const code = errorCode(cause);
  if (code === 'ECONNREFUSED') {
    return new SourceError(`connection refused at ${hostPort}: ${read.refusedMeans}`, { unreachable: true });
  }
  if (code === 'UND_ERR_CONNECT_TIMEOUT') {
    return new SourceError(`${action}: no connection to ${hostPort}: nothing answers at this address`, {
      unreachable: true,
    });
  }
  return new SourceError(`${action} at ${hostPort}`, { cause: new Error(describeError(cause)) });
}

function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}
