import { RollcallError } from '../errors.ts';

/** An agent did not answer, refused, or answered with what no agent says. */
export class AgentError extends RollcallError {
  override readonly name = 'AgentError';
  override readonly retryable: boolean;
  /** HTTP status; null where no answer came. */
  readonly status: number | null;
  /** How long the agent asks to be left alone; 0 where it asks nothing. */
  readonly retryAfterMs: number;

  constructor(
    message: string,
    options: { retryable: boolean; status?: number; retryAfterMs?: number; cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.retryable = options.retryable;
    this.status = options.status ?? null;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
}
