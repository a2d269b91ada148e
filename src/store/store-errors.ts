import { RollcallError } from '../lib/errors.ts';

/** The store could not answer, or refused. `retryable: false`: a retry cannot help (wrong password, bad certificate). */
export class StoreError extends RollcallError {
  override readonly name: string = 'StoreError';
  override readonly retryable: boolean;
  /** true: the write was certainly not carried out and will not be. */
  readonly notCarriedOut: boolean;
  constructor(message: string, options: { retryable: boolean; notCarriedOut?: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.retryable = options.retryable;
    this.notCarriedOut = options.notCarriedOut ?? false;
  }
}

/**
 * Reads once more where a read fails for a reason that may pass, and then begins at another member of etcd: while a new
 * leader is elected each member may refuse once, or let its time run out.
 */
export async function readTwice<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await read();
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof StoreError) || !error.retryable) throw error;
    return await read();
  }
}

/** The store no longer has the changes after the revision asked for: read a new snapshot. */
export class CompactedError extends StoreError {
  override readonly name = 'CompactedError';
  constructor(message: string) {
    super(message, { retryable: false });
  }
}

/** An embedded store has no file yet, and was not to be made: a wrong path, or no agent has started on it. */
export class NoStoreFileError extends StoreError {
  override readonly name = 'NoStoreFileError';
  constructor(message: string) {
    super(message, { retryable: false });
  }
}

/** The lease named in a write is gone; the write did not happen. */
export class LeaseNotFoundError extends StoreError {
  override readonly name = 'LeaseNotFoundError';
  constructor(message: string) {
    super(message, { retryable: true, notCarriedOut: true });
  }
}
