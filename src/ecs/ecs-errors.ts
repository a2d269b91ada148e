import { RollcallError } from '../lib/errors.ts';

/** The ECS API refused a request or gave no answer. The message has the action, the cause with AWS's code, and the next step. */
export class EcsError extends RollcallError {
  override readonly name = 'EcsError';
  override readonly retryable: boolean;
  /** AWS's error code, such as `AccessDeniedException`, or rollcall's own: `NoCredentials`, `NoAnswer` and others. */
  readonly code: string;
  constructor(message: string, options: { code: string; retryable: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.code = options.code;
    this.retryable = options.retryable;
  }
}

/** True if a retry is useless until the user changes something: ECS refused, or there are no credentials. */
export function isRefusal(error: unknown): boolean {
  return error instanceof EcsError && !error.retryable;
}

/** True if AWS still throttled the request after the SDK's retries. AWS counts the requests of the whole account. */
export function isThrottled(error: unknown): boolean {
  return error instanceof EcsError && /^Throttl|^TooManyRequests|^RequestLimit|^RequestThrottled/.test(error.code);
}
