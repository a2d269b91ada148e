import type { KvBatch, KvEvent } from '../kv.ts';
import { readMeta } from './log.ts';
import { requireKept } from './require-kept.ts';
import type { Statements } from './statements.ts';

/** A watcher that is far behind is given about this many changes at a time, but whole revisions in any case. */
export const MAX_CHANGES = 500;

/** The next revisions after `revision`, oldest first; none when it is the newest. Runs inside of a transaction. */
export function changesAfter(statements: Statements, revision: string): readonly KvBatch[] {
  const after = requireKept(statements, revision);
  const batches: { revision: string; events: KvEvent[] }[] = [];
  if (after === readMeta(statements).revision) return batches;
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
  return batches;
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
