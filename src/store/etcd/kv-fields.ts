import type { KeyValue, RangeEntry } from '../kv.ts';
import { fromBase64 } from './bytes.ts';
import { int64Field, type JsonObject, JunkAnswerError, textField } from './json-fields.ts';

/** One `mvccpb.KeyValue`. @param root what every key of ours starts with; it is taken off */
export function parseKeyValue(kv: JsonObject, root: string): KeyValue {
  return { ...parseRangeEntry(kv, root), lease: int64Field(kv, 'lease') };
}

/** The same without the lease. */
export function parseRangeEntry(kv: JsonObject, root: string): RangeEntry {
  return {
    key: parseKey(kv, root),
    value: fromBase64(textField(kv, 'value')),
    modRevision: int64Field(kv, 'mod_revision'),
  };
}

export function parseKey(kv: JsonObject, root: string): string {
  return withoutRoot(fromBase64(textField(kv, 'key')), root);
}

/** @throws JunkAnswerError for a key outside of `root`: we asked for none */
export function withoutRoot(key: string, root: string): string {
  if (!key.startsWith(root)) throw new JunkAnswerError(`the answer has a key that does not start with ${root}`);
  return key.slice(root.length);
}
