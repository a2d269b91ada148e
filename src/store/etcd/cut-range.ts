import { RANGE, ResponseHeader } from './rpc.ts';

type RangeAnswer = ReturnType<typeof RANGE.response.decode>;

/** Tags of fields: their number (as in `rpc.ts`) times eight, and 2 where a length and so many bytes follow. */
const RESPONSE = { header: 10, entry: 18, more: 24, count: 32 } as const;
const ENTRY = { key: 10, createRevision: 16, modRevision: 24, version: 32, value: 42, lease: 48 } as const;

/** The numbers that are kept of an entry. */
const KEPT = 5;
/** As many as the decoder of all messages takes. */
const MAX_ENTRIES = 200_000;

/**
 * A range response whose texts are cut out of the answer instead of copied, for a reader of thousands of keys that ends
 * soon: each text keeps the whole answer in memory.
 * @returns null where it is not in ASCII, or not written as etcd writes it: for the decoder of all messages, which also
 * says what is wrong with it
 */
export function cutRange(bytes: Buffer): RangeAnswer | null {
  const walk = new Walk(bytes);
  // Of each entry where its key and its value start and end, and its revision.
  const found: number[] = [];
  let header: RangeAnswer['header'] = null;
  let [more, count] = [0, 0];
  while (walk.at < bytes.length) {
    const tag = walk.byte();
    const value = walk.number();
    if (tag === RESPONSE.entry) {
      if (!walk.entry(walk.at + value, found) || found.length > MAX_ENTRIES * KEPT) return null;
    } else if (tag === RESPONSE.header) {
      header = ResponseHeader.decode(walk.pass(value));
    } else if (tag === RESPONSE.more) {
      more = value;
    } else if (tag === RESPONSE.count) {
      count = value;
    } else {
      return null;
    }
  }
  const text = bytes.toString('latin1');
  // In UTF-8 each character that is not ASCII takes one byte more. Those of the numbers were passed one by one.
  const isAscii = Buffer.byteLength(text) - text.length === walk.highBytes;
  const isExact = walk.at === bytes.length && Number.isSafeInteger(count + more);
  if (!isAscii || !isExact) return null;
  const kvs: RangeAnswer['kvs'][number][] = [];
  for (let n = 0; n < found.length; n += KEPT) {
    const modRevision = found[n + 4] ?? 0;
    if (!Number.isSafeInteger(modRevision)) return null;
    const [key, value] = [text.slice(found[n], found[n + 1]), text.slice(found[n + 2], found[n + 3])];
    kvs.push({ key, modRevision: String(modRevision), value });
  }
  return { header, kvs, more: more !== 0, count: String(count) };
}

/** As `RANGE`, with `cutRange` where it can be. */
export const CUT_RANGE = {
  ...RANGE,
  response: { decode: (bytes: Buffer) => cutRange(bytes) ?? RANGE.response.decode(bytes) },
};

/** Where it is in the answer. Behind the end it reads zeros; NaN where a number was longer than one can be. */
class Walk {
  at = 0;
  /** How many bytes of numbers, and of the header, were no ASCII. */
  highBytes = 0;
  readonly #bytes: Buffer;
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  byte(): number {
    return this.#bytes[this.at++] ?? 0;
  }

  /** Exact below 2^53. */
  number(): number {
    let byte = this.#bytes[this.at++] ?? 0;
    if (byte < 0x80) return byte;
    let value = 0;
    let factor = 1;
    for (; byte > 0x7f; byte = this.#bytes[this.at++] ?? 0) {
      this.highBytes += 1;
      value += (byte & 0x7f) * factor;
      factor *= 0x80;
    }
    if (factor > 2 ** 63) this.at = Number.NaN;
    return value + byte * factor;
  }

  pass(length: number): Buffer {
    const passed = this.#bytes.subarray(this.at, this.at + length);
    for (const byte of passed) if (byte > 0x7f) this.highBytes += 1;
    this.at += length;
    return passed;
  }

  /** Adds what it finds up to `end`. False: that is no entry as etcd writes it. */
  entry(end: number, found: number[]): boolean {
    let [keyStart, keyEnd, valueStart, valueEnd, modRevision] = [0, 0, 0, 0, 0];
    while (this.at < end) {
      const tag = this.byte();
      const value = this.number();
      if (tag === ENTRY.key) {
        keyStart = this.at;
        keyEnd = this.at += value;
      } else if (tag === ENTRY.value) {
        valueStart = this.at;
        valueEnd = this.at += value;
      } else if (tag === ENTRY.modRevision) {
        modRevision = value;
      } else if (tag !== ENTRY.createRevision && tag !== ENTRY.version && tag !== ENTRY.lease) {
        return false;
      }
    }
    found.push(keyStart, keyEnd, valueStart, valueEnd, modRevision);
    return this.at === end && end <= this.#bytes.length;
  }
}
