import { RollcallError } from '../errors.ts';

/** A source on this node (IMDS, ecs-agent, a file) did not answer, or answered what cannot be. Reading again may help. */
export class SourceError extends RollcallError {
  override readonly name: string = 'SourceError';
  override readonly retryable = true;
  /** True when the source as a whole is not there: reading another of its paths now would fail in the same way. */
  readonly unreachable: boolean;
  constructor(message: string, options: { readonly unreachable?: boolean; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.unreachable = options.unreachable ?? false;
  }
}
