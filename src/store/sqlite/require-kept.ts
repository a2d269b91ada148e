import { CompactedError } from '../store-error.ts';
import { readMeta } from './log.ts';
import type { Statements } from './statements.ts';

/** @throws CompactedError when the log does not reach back to `revision`, or the store is not the one it was read from */
export function requireKept(statements: Statements, revision: string): number {
  const meta = readMeta(statements);
  const asked = Number(revision);
  if (asked < meta.compacted) {
    throw new CompactedError(`revision ${revision} is compacted; the oldest kept is ${meta.compacted}`);
  }
  if (!(asked <= meta.revision)) {
    throw new CompactedError(`revision ${revision} is none of this store's; its newest is ${meta.revision}`);
  }
  return asked;
}
