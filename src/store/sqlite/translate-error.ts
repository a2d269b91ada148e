import { StoreError } from '../store-error.ts';

/** Primary result codes of https://sqlite.org/rescode.html; the driver gives the extended ones, whose low byte they are. */
const BUSY = 5;
const CAUSES: Readonly<Record<number, { readonly cause: string; readonly retryable: boolean }>> = {
  5: { cause: 'another process keeps it locked', retryable: true },
  6: { cause: 'another process keeps it locked', retryable: true },
  8: { cause: 'it is read-only for this process; check the owner and mode of the file', retryable: false },
  10: { cause: 'the disk reports an error', retryable: true },
  11: { cause: 'the file is damaged; move it away and start again', retryable: false },
  13: { cause: 'the disk is full', retryable: true },
  14: { cause: 'it cannot be opened; check the path and its permissions', retryable: false },
  26: { cause: 'it is not a database', retryable: false },
};

/** The primary result code of an error of node:sqlite; undefined for any other error. */
function resultCode(error: unknown): number | undefined {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  return code === 'ERR_SQLITE_ERROR' && typeof errcode === 'number' ? errcode & 0xff : undefined;
}

export function isBusy(error: unknown): boolean {
  return resultCode(error) === BUSY;
}

/** What the driver threw as a StoreError that says what to do; errors of our own as they are. */
export function translateError(action: string, error: unknown): unknown {
  const code = resultCode(error);
  if (code === undefined) return error;
  const known = CAUSES[code];
  const text = known?.cause ?? (error as Error).message;
  return new StoreError(`${action}: ${text}`, { retryable: known?.retryable ?? false, cause: error });
}
