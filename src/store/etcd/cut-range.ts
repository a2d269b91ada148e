import { withoutRoot } from './key-range.ts';
import { RANGE, ResponseHeader } from './rpc.ts';

type RangeAnswer = ReturnType<typeof RANGE.response.decode>;

/** Tags of fields: their number (as in `rpc.ts`) times eight, and 2 where a length and so many bytes follow. */
const RESPONSE = { header: 10, entry: 18, more: 24, count: 32 } as const;
const ENTRY = { key: 10, createRevision: 16, modRevision: 24, version: 32, value: 42, lease: 48 } as const;

/** As many as the decoder of all messages takes. */
const MAX_ENTRIES = 200_000;

/**
 * A range response whose texts are cut out of the answer instead of copied, its keys without `root`: for a reader of
 * thousands of keys that ends soon, since each text keeps the whole answer in memory. One loop that makes few calls and
 * objects, because a process that is new runs it once.
 * @returns null where it is not in ASCII, or not written as etcd writes it: for the decoder of all messages, which also
 * says what is wrong with it
 */
export function cutRange(bytes: Buffer, root: string): RangeAnswer | null {
  const text = bytes.toString('latin1');
  const { length } = bytes;
  const kvs: RangeAnswer['kvs'][number][] = [];
  let header: RangeAnswer['header'] = null;
  let [more, count] = [0, 0];
  // Of the entry that `at` is in; its end is 0 where it is in none.
  let end = 0;
  let key: string | null = null;
  let value = '';
  let modRevision = 0;
  /** How many bytes of numbers, and of the header, were no ASCII. */
  let highBytes = 0;
  let at = 0;
  while (at < length) {
    const tag = bytes[at++];
    // Behind the end it reads zeros. Exact below 2^53.
    let byte = bytes[at++] ?? 0;
    let number = byte & 0x7f;
    for (let factor = 0x80; byte > 0x7f; factor *= 0x80) {
      if (factor > 2 ** 63) return null;
      highBytes += 1;
      byte = bytes[at++] ?? 0;
      number += (byte & 0x7f) * factor;
    }
    if (end !== 0) {
      if (tag === ENTRY.key) {
        if (number < root.length || !text.startsWith(root, at)) return null;
        key = text.slice(at + root.length, at + number);
        at += number;
      } else if (tag === ENTRY.value) {
        value = text.slice(at, at + number);
        at += number;
      } else if (tag === ENTRY.modRevision) {
        modRevision = number;
      } else if (tag !== ENTRY.createRevision && tag !== ENTRY.version && tag !== ENTRY.lease) {
        return null;
      }
    } else if (tag === RESPONSE.entry) {
      if (kvs.length === MAX_ENTRIES) return null;
      end = at + number;
      key = null;
      value = '';
      modRevision = 0;
    } else {
      if (tag === RESPONSE.more) {
        more = number;
      } else if (tag === RESPONSE.count) {
        count = number;
      } else if (tag === RESPONSE.header) {
        const passed = bytes.subarray(at, at + number);
        header = ResponseHeader.decode(passed);
        for (const byte of passed) if (byte > 0x7f) highBytes += 1;
        at += number;
      } else {
        return null;
      }
      continue;
    }
    if (at < end) continue;
    if (at > end || key === null || !Number.isSafeInteger(modRevision)) return null;
    kvs.push({ key, modRevision: String(modRevision), value });
    end = 0;
  }
  // In UTF-8 each character that is not ASCII takes one byte more. Those of the numbers were passed one by one.
  const isAscii = Buffer.byteLength(text) - length === highBytes;
  const isExact = at === length && end === 0 && Number.isSafeInteger(count) && Number.isSafeInteger(more);
  return isAscii && isExact ? { header, kvs, more: more !== 0, count: String(count) } : null;
}

/** `RANGE` where keys come without `root`. @param cut with `cutRange` where it can be */
export function rangeBelow(root: string, cut: boolean): typeof RANGE {
  const decode = (bytes: Buffer): RangeAnswer => {
    const answer = RANGE.response.decode(bytes);
    return { ...answer, kvs: answer.kvs.map((entry) => ({ ...entry, key: withoutRoot(entry.key, root) })) };
  };
  return {
    ...RANGE,
    response: { ...RANGE.response, decode: cut ? (bytes) => cutRange(bytes, root) ?? decode(bytes) : decode },
  };
}
