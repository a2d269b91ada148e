import { RollcallError } from '../errors.ts';

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
