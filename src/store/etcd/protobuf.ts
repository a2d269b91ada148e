/**
 * The little of the protobuf wire format that etcd's messages take: varints and length-delimited fields
 * (https://protobuf.dev/programming-guides/encoding/). Of our own because a list of 10,000 nodes passes through it.
 */

/** `int64` is decimal text: a lease id has more digits than a number can hold. `text` is UTF-8. */
type Kind = 'int64' | 'flag' | 'text' | 'bytes' | Message<Fields>;
type Field = readonly [id: number, kind: Kind] | readonly [id: number, kind: Kind, repeated: 'repeated'];
type Fields = Readonly<Record<string, Field>>;

type Value<K> = K extends 'int64' | 'text'
  ? string
  : K extends 'flag'
    ? boolean
    : K extends 'bytes'
      ? Buffer
      : K extends Message<infer F>
        ? Decoded<F>
        : never;

/** What was left out is `'0'`, `''`, `false`, no bytes, no elements, or null for a message. */
type Decoded<F extends Fields> = {
  readonly [N in keyof F]: F[N] extends readonly [number, infer K, 'repeated']
    ? readonly Value<K>[]
    : F[N] extends readonly [number, infer K]
      ? K extends Message<Fields>
        ? Value<K> | null
        : Value<K>
      : never;
};

type Given<K> = K extends Message<infer F> ? Encodable<F> : K extends 'bytes' ? Buffer | string : Value<K>;
type Encodable<F extends Fields> = {
  readonly [N in keyof F]?: F[N] extends readonly [number, infer K, 'repeated']
    ? readonly Given<K>[]
    : F[N] extends readonly [number, infer K]
      ? Given<K>
      : never;
};

interface Message<F extends Fields> {
  /** Zero, false and empty are left out, as protobuf does. Bytes may be given as text, which becomes UTF-8. */
  encode(value: Encodable<F>): Buffer;
  /** @throws RangeError where the bytes are no such message */
  decode(bytes: Buffer): Decoded<F>;
  /** Field by number, and what each is when it is left out. */
  readonly table: Table;
  /** Reads up to the cursor's end. */
  read(cursor: FieldCursor): Decoded<F>;
}

interface Table {
  readonly byId: readonly (NamedField | undefined)[];
  readonly byName: Readonly<Record<string, NamedField>>;
  readonly defaults: Readonly<Record<string, unknown>>;
}

interface NamedField {
  readonly id: number;
  readonly name: string;
  readonly kind: Kind;
  readonly repeated: boolean;
}

const NO_BYTES = Buffer.alloc(0);
const NONE: readonly never[] = [];
const DEFAULTS = { int64: '0', flag: false, text: '', bytes: NO_BYTES } as const;

/**
 * A message by its fields: name → number, kind and, for a list, `repeated`.
 * @param readOwn reads it up to the cursor's end; written by hand for a message of which an answer holds thousands
 */
export function message<const F extends Fields>(
  fields: F,
  readOwn?: (cursor: FieldCursor) => Decoded<NoInfer<F>>,
): Message<F> {
  const named = Object.entries(fields).map(([name, [id, kind, repeated]]): NamedField => {
    return { id, name, kind, repeated: repeated === 'repeated' };
  });
  const byId: (NamedField | undefined)[] = [];
  for (const field of named) byId[field.id] = field;
  const table: Table = {
    byId,
    byName: Object.fromEntries(named.map((field) => [field.name, field])),
    defaults: Object.fromEntries(
      named.map(({ name, kind, repeated }) => [
        name,
        repeated ? NONE : typeof kind === 'string' ? DEFAULTS[kind] : null,
      ]),
    ),
  };
  const read = readOwn ?? ((cursor: FieldCursor) => decodeFields(table, cursor) as Decoded<F>);
  return { table, read, encode: (value) => encodeMessage(table, value), decode: (bytes) => read(fieldCursor(bytes)) };
}

/** What is written, at the end of `scratch` from `at` on: from the back to the front, since a length comes before its message. */
let scratch = Buffer.allocUnsafeSlow(16_384);
let at = scratch.length;
/** A longer one is not kept. */
const MAX_KEPT_BYTES = 65_536;

function encodeMessage(table: Table, value: Readonly<Record<string, unknown>>): Buffer {
  at = scratch.length;
  putFields(table, value);
  const encoded = Buffer.allocUnsafe(written());
  scratch.copy(encoded, 0, at);
  if (scratch.length > MAX_KEPT_BYTES) scratch = Buffer.allocUnsafeSlow(MAX_KEPT_BYTES);
  return encoded;
}

const written = () => scratch.length - at;

/** Makes place for so many bytes before what is written. */
function reserve(bytes: number): void {
  if (at < bytes) {
    const larger = Buffer.allocUnsafeSlow(2 * scratch.length + bytes);
    const rest = written();
    scratch.copy(larger, larger.length - rest, at);
    scratch = larger;
    at = larger.length - rest;
  }
  at -= bytes;
}

function putFields({ byName }: Table, value: Readonly<Record<string, unknown>>): void {
  for (const name of Object.keys(value).reverse()) {
    const field = byName[name];
    if (field === undefined) throw new Error(`the message has no field ${name}`);
    const given = value[name];
    if (!field.repeated) {
      if (given !== undefined) putField(field, given, false);
      continue;
    }
    for (const element of (given as readonly unknown[]).toReversed()) putField(field, element, true);
  }
}

function putField({ id, kind }: NamedField, value: unknown, evenEmpty: boolean): void {
  if (kind === 'int64' || kind === 'flag') {
    const text = kind === 'flag' ? String(Number(value)) : (value as string);
    if (Number(text) === 0) return;
    putVarint64(text);
    putVarint(id * 8);
    return;
  }
  const before = written();
  if (typeof kind !== 'string') putFields(kind.table, value as Readonly<Record<string, unknown>>);
  else putBytes(value as Buffer | string);
  const length = written() - before;
  // An empty message is there, other than an empty text.
  if (length === 0 && !evenEmpty && typeof kind === 'string') return;
  putVarint(length);
  putVarint(id * 8 + 2);
}

/** Text becomes UTF-8. */
function putBytes(value: Buffer | string): void {
  reserve(Buffer.byteLength(value));
  if (typeof value === 'string') scratch.write(value, at);
  else value.copy(scratch, at);
}

/** Of a number from 0 to 2^53 - 1. */
function putVarint(value: number): void {
  let length = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) length += 1;
  reserve(length);
  putLow(value, length - 1);
  scratch[at + length - 1] = Math.floor(value / 128 ** (length - 1));
}

/** So many bytes at `at`, seven bits in each, after which more follow. */
function putLow(value: number, bytes: number): void {
  let rest = value;
  for (let index = at; index < at + bytes; index += 1) {
    scratch[index] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
}

/** Of decimal text. A lease id, in every heartbeat, has more digits than a number holds. */
function putVarint64(text: string): void {
  const number = Number(text);
  if (number >= 0 && Number.isSafeInteger(number)) {
    putVarint(number);
    return;
  }
  const value = BigInt.asUintN(64, BigInt(text));
  // Its low 49 bits are seven bytes of a varint, and the rest is a number of its own.
  putVarint(Number(value >> 49n));
  reserve(7);
  putLow(Number(value & LOW_BITS), 7);
}

const LOW_BITS = 2n ** 49n - 1n;

/** Of one list in one message: an empty element takes two bytes on the wire and a hundred in memory. */
const MAX_ELEMENTS = 200_000;

/** The fields up to the cursor's end. A field that is not in the table is passed over: later releases add some. */
function decodeFields({ byId, defaults }: Table, cursor: FieldCursor): Record<string, unknown> {
  const decoded: Record<string, unknown> = { ...defaults };
  for (let id = cursor.next(); id !== 0; id = cursor.next()) {
    const field = byId[id];
    if (field === undefined) {
      cursor.skip();
    } else if (field.repeated) {
      const list = decoded[field.name] as unknown[];
      if (list.length === 0) decoded[field.name] = [decodeValue(field.kind, cursor)];
      else if (list.length < MAX_ELEMENTS) list.push(decodeValue(field.kind, cursor));
      else throw new RangeError(`more than ${MAX_ELEMENTS} elements in ${field.name}`);
    } else {
      decoded[field.name] = decodeValue(field.kind, cursor);
    }
  }
  return decoded;
}

function decodeValue(kind: Kind, cursor: FieldCursor): unknown {
  if (kind === 'text') return cursor.text();
  if (kind === 'int64') return cursor.int64();
  if (kind === 'flag') return cursor.int64() !== '0';
  if (kind === 'bytes') return cursor.bytes();
  const outerEnd = cursor.enter();
  const inner = kind.read(cursor);
  cursor.leave(outerEnd);
  return inner;
}

/**
 * Walks through the fields of one message: `next` moves on to a field and answers its number (0 at the end), then exactly
 * one of the others takes its value. A cursor instead of field objects, since a page holds 60,000 fields.
 * All throw RangeError where the bytes are no protobuf message.
 */
interface FieldCursor {
  next(): number;
  /**
   * Goes into the message that the field holds: `next` then ends with that message. One cursor for all of them, since a
   * page holds 10,000 and each cursor costs more than its message.
   * @returns what `leave` takes to go on behind it
   */
  enter(): number;
  leave(outerEnd: number): void;
  bytes(): Buffer;
  text(): string;
  int64(): string;
  skip(): void;
}

function fieldCursor(message: Buffer): FieldCursor {
  let end = message.length;
  let at = 0;
  let type = 0;

  const byte = (): number => {
    if (at >= end) throw cut();
    return message[at++] ?? 0;
  };
  /** Exact below 2^53; ids, lengths and flags are. */
  const number = (): number => {
    let value = byte();
    if (value < 0x80) return value;
    value &= 0x7f;
    for (let factor = 128; factor <= 2 ** 63; factor *= 128) {
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
    // In two numbers, each exact: the first seven bytes, and the rest.
    let [low, high] = [0, 0];
    for (let index = at - 1; index >= start + 7; index -= 1) high = high * 128 + ((message[index] ?? 0) & 0x7f);
    for (let index = Math.min(at, start + 7) - 1; index >= start; index -= 1) {
      low = low * 128 + ((message[index] ?? 0) & 0x7f);
    }
    return String(BigInt.asIntN(64, (BigInt(high) << 49n) | BigInt(low)));
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
      // Of fixed length. None of ours has one; a field that comes with a later release must not break it.
      else if (type === 1 || type === 5) at += type === 1 ? 8 : 4;
      else throw new RangeError(`a protobuf field of wire type ${type}`);
      if (at > end) throw cut();
    },
  };
}

function cut(): RangeError {
  return new RangeError('a protobuf message that is cut short');
}
