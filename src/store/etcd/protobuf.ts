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
