import { type KvRow, kvRow } from './rows.ts';
import type { Statements } from './statements.ts';

/** A key's new value (null: deleted) and what it replaces. */
export interface Write {
  readonly key: string;
  readonly put: { readonly value: string; readonly lease: number } | null;
  readonly previous: KvRow | null;
}

interface Meta {
  readonly revision: number;
  /** The changes up to this revision are gone from the log. */
  readonly compacted: number;
}

export function readMeta(statements: Statements): Meta {
  const row = statements.meta.get();
  return { revision: Number(row?.['revision']), compacted: Number(row?.['compacted']) };
}

export function readKey(statements: Statements, key: string): KvRow | null {
  const row = statements.get.get(key);
  return row ? kvRow(row) : null;
}

/**
 * Carries out `writes` at one new revision, logs them, and drops the oldest revisions from a log of more than
 * `keptChanges`. Runs inside of a transaction. @returns the revision; without writes the one there is
 */
export function appendRevision(statements: Statements, writes: readonly Write[], keptChanges: number): number {
  const { revision: current } = readMeta(statements);
  if (writes.length === 0) return current;
  const revision = current + 1;
  for (const { key, put, previous } of writes) {
    if (put) statements.put.run(key, put.value, put.lease, revision);
    else statements.remove.run(key);
    const replaced = [previous?.value ?? null, previous?.lease ?? null, previous?.modRevision ?? null];
    statements.addChange.run(revision, key, put?.value ?? null, ...replaced);
  }
  statements.setRevision.run(revision);
  compact(statements, keptChanges);
  return revision;
}

function compact(statements: Statements, keptChanges: number): void {
  const first = Number(statements.firstChange.get()?.['seq']);
  const last = Number(statements.lastChange.get()?.['seq']);
  // A tenth of slack: one deletion of many changes is cheaper than one with every write.
  if (last - first + 1 <= keptChanges * 1.1) return;
  const upTo = Number(statements.revisionOfChange.get(last - keptChanges)?.['revision']);
  statements.setCompacted.run(upTo);
  statements.removeChangesUpTo.run(upTo);
}
