import type { SQLOutputValue } from 'node:sqlite';
import type { KeyValue } from '../kv.ts';

/** A row of the driver: every column by its name. */
type Row = Record<string, SQLOutputValue>;

/** A row of table `kv`. Revisions and leases are below 2^53: the driver refuses to round. */
export interface KvRow {
  readonly key: string;
  readonly value: string;
  readonly lease: number;
  readonly modRevision: number;
}

export function kvRow(row: Row): KvRow {
  return {
    key: String(row['key']),
    value: String(row['value']),
    lease: Number(row['lease']),
    modRevision: Number(row['mod_revision']),
  };
}

export function keyValue(row: KvRow): KeyValue {
  return { key: row.key, value: row.value, lease: String(row.lease), modRevision: String(row.modRevision) };
}
