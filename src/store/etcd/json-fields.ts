/** What came back is not what etcd's gateway sends: another server, a proxy, or an answer cut short. */
export class JunkAnswerError extends Error {
  override readonly name = 'JunkAnswerError';
}

export type JsonObject = Readonly<Record<string, unknown>>;

// The gateway omits every field that is zero, false or empty, so each of these has a default. They are written by hand
// because a list of 10,000 nodes passes through them.

/** One JSON object. @throws JunkAnswerError */
export function parseObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new JunkAnswerError(`the answer is not JSON: ${excerpt(text)}`);
  }
  if (!isObject(value)) throw new JunkAnswerError(`the answer is not a JSON object: ${excerpt(text)}`);
  return value;
}

export function objectField(object: JsonObject, name: string): JsonObject {
  const value = object[name];
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw wrongField(name, 'an object');
  return value;
}

export function objectsField(object: JsonObject, name: string): readonly JsonObject[] {
  const value = object[name];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every(isObject)) throw wrongField(name, 'a list of objects');
  return value;
}

export function textField(object: JsonObject, name: string): string {
  const value = object[name];
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw wrongField(name, 'a text');
  return value;
}

export function flagField(object: JsonObject, name: string): boolean {
  const value = object[name];
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw wrongField(name, 'true or false');
  return value;
}

/** An int64, which travels as decimal text. Kept as text: a lease id has more digits than a number can hold. */
export function int64Field(object: JsonObject, name: string): string {
  const value = object[name];
  if (value === undefined || value === null) return '0';
  if (typeof value === 'string' && /^-?\d{1,20}$/.test(value)) return value;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  throw wrongField(name, 'a 64-bit number');
}

/** The store's revision from an answer's header; it is never 0. */
export function headerRevision(object: JsonObject): string {
  const revision = int64Field(objectField(object, 'header'), 'revision');
  if (revision === '0') throw wrongField('header.revision', 'there');
  return revision;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrongField(name: string, expected: string): JunkAnswerError {
  return new JunkAnswerError(`the answer's field ${name} is not ${expected}`);
}

function excerpt(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  if (line === '') return 'it is empty';
  return line.length > 60 ? `${line.slice(0, 60)}…` : line;
}
