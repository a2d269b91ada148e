/**
 * The little of the protobuf wire format that a range takes: varints and length-delimited fields
 * (https://protobuf.dev/programming-guides/encoding/).
 */

/** One field as it stands on the wire. `number` is 0 for other types than varint, `bytes` empty for other than delimited. */
export interface Field {
  readonly id: number;
  readonly varint: bigint;
  readonly bytes: Buffer;
}

const NO_BYTES = Buffer.alloc(0);

/** A message from its fields, in the order given. Numbers become varints (0 is left out, as protobuf does). */
export function encodeMessage(fields: readonly (readonly [id: number, value: number | bigint | Buffer])[]): Buffer {
  const parts: Buffer[] = [];
  for (const [id, value] of fields) {
    if (Buffer.isBuffer(value)) parts.push(varint(BigInt(id) * 8n + 2n), varint(BigInt(value.length)), value);
    else if (BigInt(value) !== 0n) parts.push(varint(BigInt(id) * 8n), varint(BigInt(value)));
  }
  return Buffer.concat(parts);
}

/** Calls `onField` for each field of a message. @throws RangeError where the bytes are no protobuf message */
export function readFields(message: Buffer, onField: (field: Field) => void): void {
  const end = message.length;
  let at = 0;
  // Most varints are short; a BigInt for each byte of each would take longer than all the rest.
  const readVarint = (): bigint => {
    let low = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = at < end ? (message[at++] ?? 0) : cut();
      low += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return BigInt(low);
    }
    let high = 0n;
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = at < end ? (message[at++] ?? 0) : cut();
      high += BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, high + BigInt(low));
    }
    return cut();
  };
  while (at < end) {
    const tag = Number(readVarint());
    const id = tag >>> 3;
    const type = tag & 7;
    if (type === 0) {
      onField({ id, varint: readVarint(), bytes: NO_BYTES });
    } else if (type === 2) {
      const length = Number(readVarint());
      if (!(length >= 0 && at + length <= end)) cut();
      onField({ id, varint: 0n, bytes: message.subarray(at, at + length) });
      at += length;
    } else {
      throw new RangeError(`a protobuf field of wire type ${type}`);
    }
  }
}

function cut(): never {
  throw new RangeError('a protobuf message that is cut short');
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
