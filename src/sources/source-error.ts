import type { Clock } from '../lib/clock.ts';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { describeError, quote, RollcallError } from '../lib/errors.ts';

/** A source on this node (IMDS, ecs-agent, a file) did not answer, or its answer is invalid. A later read may succeed. */
export class SourceError extends RollcallError {
  override readonly name: string = 'SourceError';
  override readonly retryable = true;
  /** True if the whole source is unavailable: a read of another path would fail in the same way now. */
  readonly unreachable: boolean;
  constructor(message: string, options: { readonly unreachable?: boolean; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.unreachable = options.unreachable ?? false;
  }
}

/**
 * Parses an answer as a JSON object. The content type is ignored: ecs-agent 1.0.0 and IMDS send JSON as text/plain.
 * @throws SourceError for an HTML page, a truncated body, or JSON that is not an object
 */
export function parseObject(action: string, text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SourceError(`${action}: expected a JSON object, got ${quote(text)}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SourceError(`${action}: expected a JSON object, got ${quote(text)}`);
  }
  return value as Record<string, unknown>;
}

/** Returns a SourceError instead of throwing it, for one of several reads. Rejects with any other error. */
export async function attempt<T>(work: () => Promise<T>): Promise<{ value: T } | { error: SourceError }> {
  try {
    return { value: await work() };
  } catch (error) {
    if (error instanceof SourceError) return { error };
    throw error;
  }
}

interface SourceRead {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** The read, for messages: `IMDS meta-data/instance-id`. */
  readonly action: string;
  readonly hostPort: string;
  /** What a refused connection means for this source, for messages. */
  readonly refusedMeans: string;
  /** A more helpful error for a missed deadline; null or absent: the general one. */
  readonly onTimeout?: () => SourceError | null;
}

/**
 * Runs one HTTP read of a source within its deadline.
 * @throws SourceError for a failed request, or the signal's reason
 */
export async function readWithin<T>(read: SourceRead, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { clock, timeoutMs, signal, action } = read;
  try {
    return await withDeadline(clock, timeoutMs, signal, `${action} at ${read.hostPort}`, work);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof SourceError ? error : requestError(read, error);
  }
}

function requestError(read: SourceRead, cause: unknown): SourceError {
  const { action, hostPort } = read;
  // No `cause`: the message already has the cause's text.
  if (cause instanceof DeadlineError) return read.onTimeout?.() ?? new SourceError(cause.message);
  const code = errorCode(cause);
  if (code === 'ECONNREFUSED') {
    return new SourceError(`connection refused at ${hostPort}: ${read.refusedMeans}`, { unreachable: true });
  }
  if (code === 'CONNECT_TIMEOUT') {
    return new SourceError(`${action}: no connection to ${hostPort}; check that the address is right and reachable`, {
      unreachable: true,
    });
  }
  return new SourceError(`${action} at ${hostPort}`, { cause: new Error(describeError(cause)) });
}

function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}
