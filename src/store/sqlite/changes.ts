import type { KvBatch, KvEvent } from '../kv.ts';
import { readMeta } from './log.ts';
import { requireKept } from './require-kept.ts';
import type { Statements } from './statements.ts';

/** A watcher that is far behind is given about this many changes at a time, but whole revisions in any case. */
export const MAX_CHANGES = 500;

export interface ChangeLogPage {
  /** The store's newest revision at that moment. */
  readonly revision: string;
  /** The next revisions after the asked one, oldest first. Empty: there are none. */
  readonly batches: readonly KvBatch[];
}

/** The log after `revision`. Runs inside of a transaction. */
export function changesAfter(statements: Statements, revision: string): ChangeLogPage {
  const after = requireKept(statements, revision);
  const newest = String(readMeta(statements).revision);
  const batches: { revision: string; events: KvEvent[] }[] = [];
  if (newest === revision) return { revision: newest, batches };
  let count = 0;
  for (const row of statements.changesAfter.iterate(after)) {
    const at = String(row['revision']);
    if (batches.at(-1)?.revision !== at) {
      if (count >= MAX_CHANGES) break;
      batches.push({ revision: at, events: [] });
    }
    const [value, previous] = [textOrNull(row['value']), textOrNull(row['previous'])];
    batches.at(-1)?.events.push({ key: String(row['key']), value, previous });
    count += 1;
  }
  return { revision: newest, batches };
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
