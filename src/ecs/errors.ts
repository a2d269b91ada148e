import { RollcallError } from '../lib/errors.ts';

/** The ECS API refused or could not be asked. The message names the action, the cause with AWS's code, and what would help. */
export class EcsError extends RollcallError {
  override readonly name = 'EcsError';
  override readonly retryable: boolean;
  /** AWS's error code, such as `AccessDeniedException`; one of ours where no answer came: `NoCredentials`, `NoAnswer`. */
  readonly code: string;
  constructor(message: string, options: { code: string; retryable: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.code = options.code;
    this.retryable = options.retryable;
  }
}

/** ECS was asked and said no, or could not even be asked for want of credentials: trying again helps only once somebody changed something. */
export function isRefusal(error: unknown): boolean {
  return error instanceof EcsError && !error.retryable;
}

/** AWS had more requests of the whole account than it answers, after all that the SDK tried by itself. */
export function isThrottled(error: unknown): boolean {
  return error instanceof EcsError && /^Throttl|^TooManyRequests|^RequestLimit|^RequestThrottled/.test(error.code);
}
