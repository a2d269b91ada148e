import { type Decoded, decodePresence, decodeRecord } from '../record/codec.ts';
import { parseKey, ROOT } from './keys.ts';
import type { KvBatch, KvEvent } from './kv.ts';
import type { Change, WatchBatch } from './store.ts';

/** What a revision's raw changes mean. A foreign key is `skipped` when written and `unskipped` when deleted. */
export function interpretBatch(batch: KvBatch): WatchBatch {
  return { revision: batch.revision, changes: batch.events.flatMap(interpretEvent) };
}

function interpretEvent({ key, value, previous }: KvEvent): Change[] {
  if (!key.startsWith(ROOT)) return [];
  const parsed = parseKey(key);
  if (parsed.kind === 'foreign')
    return [value === null ? { kind: 'unskipped', key } : skippedChange(key, parsed.reason)];
  const { instanceId } = parsed;
  if (parsed.kind === 'record') {
    const now = readable(key, value, (json) => decodeRecord(instanceId, json));
    const before = readable(key, previous, (json) => decodeRecord(instanceId, json));
    return [{ kind: 'record', instanceId, record: now.value, previous: before.value }, ...now.skipped];
  }
  const now = readable(key, value, decodePresence);
  const before = readable(key, previous, decodePresence);
  return [{ kind: 'presence', instanceId, presence: now.value, previous: before.value }, ...now.skipped];
}

function readable<T>(
  key: string,
  json: string | null,
  decode: (json: string) => Decoded<T>,
): { readonly value: T | null; readonly skipped: Change[] } {
  if (json === null) return { value: null, skipped: [] };
  const decoded = decode(json);
  return decoded.ok
    ? { value: decoded.value, skipped: [] }
    : { value: null, skipped: [skippedChange(key, decoded.reason)] };
}

function skippedChange(key: string, reason: string): Change {
  return { kind: 'skipped', skipped: { key, reason } };
}
