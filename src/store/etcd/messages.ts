import type { KeyValue, RangeEntry } from '../kv.ts';
import type { Endpoint } from './client.ts';
import { int64Field, type JsonObject, JunkAnswerError, textField } from './errors.ts';
import { grpcCall } from './grpc.ts';

/** Keys and values travel as base64 in the JSON gateway. */
export function toBase64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}

/** Bytes that are no UTF-8 become U+FFFD: nothing of ours is written so, and a foreign key must not break a list. */
export function fromBase64(base64: string): string {
  // A list of 10,000 nodes decodes 40,000 texts: one buffer for all of them takes half the time of one for each.
  if (base64.length > scratch.length) return Buffer.from(base64, 'base64').toString('utf8');
  return scratch.toString('utf8', 0, scratch.write(base64, 'base64'));
}

const scratch = Buffer.allocUnsafeSlow(16 * 1024);

/** etcd's `range_end` for all keys that start with `prefix`, which is not empty. UTF-8 has no byte 0xff to carry over. */
export function prefixEnd(prefix: string): string {
  const end = Buffer.from(prefix, 'utf8');
  const last = end.length - 1;
  end[last] = (end[last] ?? 0) + 1;
  return end.toString('base64');
}

/** The smallest key after `key`, both in base64. */
export function keyAfter(key: string): string {
  return Buffer.concat([Buffer.from(key, 'base64'), Buffer.of(0)]).toString('base64');
}

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

/**
 * The little of the protobuf wire format that a range takes: varints and length-delimited fields
 * (https://protobuf.dev/programming-guides/encoding/).
 */

/** A message from its fields, in the order given. Numbers become varints (0 is left out, as protobuf does). */
export function encodeMessage(fields: readonly (readonly [id: number, value: number | bigint | Buffer])[]): Buffer {
  const parts: Buffer[] = [];
  for (const [id, value] of fields) {
    if (Buffer.isBuffer(value)) parts.push(varint(id * 8 + 2), varint(value.length), value);
    else if (BigInt(value) !== 0n) parts.push(varint(id * 8), varint(value));
  }
  return Buffer.concat(parts);
}

/**
 * Walks through the fields of one message: `next` moves on to a field and answers its id (0 at the end), then exactly
 * one of the others takes its value. A cursor instead of field objects, since a page holds 60,000 fields.
 * All throw RangeError where the bytes are no protobuf message.
 */
export interface FieldCursor {
  next(): number;
  /**
   * Goes into the message that the field holds: `next` then ends with that message. One cursor for all of them, since a
   * page holds 10,000 and each cursor costs more than its message.
   * @returns what `leave` takes to go on behind it
   */
  enter(): number;
  leave(outerEnd: number): void;
  /** Where the next field begins, as an index of the whole message. */
  position(): number;
  bytes(): Buffer;
  /** The same as UTF-8. */
  text(): string;
  /** An int64 as decimal text: a lease id has more digits than a number can hold. */
  int64(): string;
  skip(): void;
}

export function fieldCursor(message: Buffer): FieldCursor {
  let end = message.length;
  let at = 0;
  let type = 0;

  const byte = (): number => {
    if (at >= end) throw cut();
    return message[at++] ?? 0;
  };
  /** Exact below 2^53; ids, lengths and flags are. */
  const number = (): number => {
    let value = 0;
    for (let factor = 1; factor <= 2 ** 63; factor *= 128) {
      const next = byte();
      value += (next & 0x7f) * factor;
      if (next < 0x80) return value;
    }
    throw cut();
  };
  const int64 = (): string => {
    const start = at;
    const value = number();
    if (Number.isSafeInteger(value)) return String(value);
    let exact = 0n;
    for (let index = at - 1; index >= start; index -= 1) exact = (exact << 7n) | BigInt((message[index] ?? 0) & 0x7f);
    return String(BigInt.asIntN(64, exact));
  };
  /** Moves behind a length-delimited value and answers where it starts. */
  const pass = (): number => {
    const length = number();
    if (at + length > end) throw cut();
    at += length;
    return at - length;
  };
  const expect = (wanted: number): void => {
    if (type !== wanted) throw new RangeError(`a protobuf field of wire type ${type} instead of ${wanted}`);
  };

  return {
    next() {
      if (at >= end) return 0;
      const tag = number();
      type = tag & 7;
      const id = Math.floor(tag / 8);
      if (id === 0) throw new RangeError('a protobuf field without a number');
      return id;
    },
    enter() {
      expect(2);
      const outerEnd = end;
      const start = pass();
      end = at;
      at = start;
      return outerEnd;
    },
    leave(outerEnd) {
      at = end;
      end = outerEnd;
    },
    position: () => at,
    bytes() {
      expect(2);
      const start = pass();
      return message.subarray(start, at);
    },
    text() {
      expect(2);
      const start = pass();
      return message.toString('utf8', start, at);
    },
    int64() {
      expect(0);
      return int64();
    },
    skip() {
      if (type === 0) number();
      else if (type === 2) pass();
      // Of fixed length. A range has none today; a field that comes with a later release must not break it.
      else if (type === 1 || type === 5) at += type === 1 ? 8 : 4;
      else throw new RangeError(`a protobuf field of wire type ${type}`);
      if (at > end) throw cut();
    },
  };
}

function cut(): RangeError {
  return new RangeError('a protobuf message that is cut short');
}

function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** Bytes of keys as they are: a foreign key need not be UTF-8. */
interface RawRange {
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
  readonly limit: number;
  /** `"0"`: the newest. */
  readonly revision: string;
}

export interface RawPage {
  readonly revision: string;
  readonly kvs: readonly RangeEntry[];
  readonly more: boolean;
  /** null where there is none. */
  readonly lastKey: Buffer | null;
}

const NO_KEY = Buffer.alloc(0);

/**
 * `KV.Range` with the field numbers of etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto, the same from 3.4 to 3.6.
 * @param root what every key of the answer starts with; it is taken off
 */
export async function grpcRange(
  endpoint: Endpoint,
  headers: Readonly<Record<string, string>>,
  range: RawRange,
  root: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<RawPage> {
  const request = encodeMessage([
    [1, range.key],
    [2, range.rangeEnd],
    [3, range.limit],
    [4, BigInt(range.revision)],
  ]);
  const answer = await grpcCall(endpoint.grpcPool, '/etcdserverpb.KV/Range', headers, request, maxBytes, signal);
  try {
    return parseRangeResponse(answer, root);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new JunkAnswerError(cause.message);
  }
}

/** @throws RangeError for what is no such message, JunkAnswerError for a key outside of `root` */
export function parseRangeResponse(message: Buffer, root: string): RawPage {
  const kvs: RangeEntry[] = [];
  let revision = '0';
  let more = false;
  let lastAt: number | null = null;
  const fields = fieldCursor(message);
  for (let id = fields.next(); id !== 0; id = fields.next()) {
    if (id === 1) {
      const outer = fields.enter();
      revision = parseRevision(fields);
      fields.leave(outer);
    } else if (id === 2) {
      const outer = fields.enter();
      lastAt = fields.position();
      kvs.push(readKeyValue(fields, root));
      fields.leave(outer);
    } else if (id === 3) {
      more = fields.int64() !== '0';
    } else {
      fields.skip();
    }
  }
  if (revision === '0') throw new RangeError('a range response without a revision');
  return { revision, kvs, more, lastKey: lastAt === null ? null : readKey(fieldCursor(message.subarray(lastAt))) };
}

function parseRevision(fields: FieldCursor): string {
  let revision = '0';
  for (let id = fields.next(); id !== 0; id = fields.next()) {
    if (id === 3) revision = fields.int64();
    else fields.skip();
  }
  return revision;
}

function readKeyValue(fields: FieldCursor, root: string): RangeEntry {
  let key = '';
  let value = '';
  let modRevision = '0';
  for (let id = fields.next(); id !== 0; id = fields.next()) {
    if (id === 1) key = fields.text();
    else if (id === 3) modRevision = fields.int64();
    else if (id === 5) value = fields.text();
    else fields.skip();
  }
  return { key: withoutRoot(key, root), value, modRevision };
}

/** The key's own bytes, which its text may not keep. */
function readKey(fields: FieldCursor): Buffer {
  for (let id = fields.next(); id !== 0; id = fields.next()) {
    if (id === 1) return fields.bytes();
    fields.skip();
  }
  return NO_KEY;
}
