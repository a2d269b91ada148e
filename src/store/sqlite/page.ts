import type { KeyValue, RangePage, RangeQuery } from '../kv.ts';
import { readMeta } from './log.ts';
import { requireKept } from './require-kept.ts';
import { keyValue, kvRow } from './rows.ts';
import type { Statements } from './statements.ts';

/** Bounds of one page. The last key may exceed the number of characters, so that every page holds at least one. */
const MAX_PAGE_KEYS = 1_000;
const MAX_PAGE_CHARS = 1_000_000;

/** One page of a range, at the newest or a past revision. Runs inside of a transaction. */
export function readPage(statements: Statements, { prefix, from, to, revision, ...query }: RangeQuery): RangePage {
  const at = revision === undefined ? readMeta(statements).revision : requireKept(statements, revision);
  const kvs: KeyValue[] = [];
  let chars = 0;
  const maxKeys = Math.min(query.limit ?? MAX_PAGE_KEYS, MAX_PAGE_KEYS);
  for (const row of statements.range.iterate({
    from: from ?? prefix,
    end: to ?? endOf(prefix),
    at,
    limit: maxKeys + 1,
  })) {
    const kv = keyValue(kvRow(row));
    if (kvs.length === maxKeys || chars >= MAX_PAGE_CHARS) return { revision: String(at), kvs, next: kv.key };
    kvs.push(kv);
    chars += kv.key.length + kv.value.length;
  }
  return { revision: String(at), kvs, next: null };
}

/** The first text after all that start with `prefix`, which is not empty. SQLite compares texts by their UTF-8 bytes. */
function endOf(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}
