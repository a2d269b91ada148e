/** A field that is not what it must be; the message names it and what was expected. */
export class FieldError extends Error {
  override readonly name = 'FieldError';
}

type Json = Readonly<Record<string, unknown>>;

/** Readers of one field of parsed JSON. Written by hand: a list of 10,000 nodes passes through them 300,000 times. */
export const field = {
  object(value: unknown, path: string): Json {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(path, 'an object');
    return value as Json;
  },

  list(from: Json, name: string, path: string): readonly unknown[] {
    const value = from[name];
    if (!Array.isArray(value)) throw wrong(path + name, 'a list');
    return value;
  },

  text(from: Json, name: string, path = ''): string {
    const value = from[name];
    if (typeof value !== 'string') throw wrong(path + name, 'a text');
    return value;
  },

  number(from: Json, name: string): number {
    const value = from[name];
    if (typeof value !== 'number') throw wrong(name, 'a number');
    return value;
  },

  /** An older or newer writer may lack it. */
  optionalText(from: Json, name: string, path = ''): string | null {
    const value = from[name] ?? null;
    if (value !== null && typeof value !== 'string') throw wrong(path + name, 'a text or null');
    return value;
  },

  oneOf<T extends string>(allowed: readonly T[], from: Json, name: string, path: string): T {
    const value = from[name];
    const known = allowed.find((each) => each === value);
    if (known === undefined) throw wrong(path + name, `one of ${allowed.join(', ')}`);
    return known;
  },

  optional<T>(from: Json, name: string, read: (object: Json) => T): T | null {
    const value = from[name] ?? null;
    return value === null ? null : read(field.object(value, name));
  },

  /** A map from text to text; empty where there is none. */
  texts(from: Json, name: string): Readonly<Record<string, string>> {
    const value = field.object(from[name] ?? {}, name);
    for (const key in value) if (typeof value[key] !== 'string') throw wrong(`${name}.${key}`, 'a text');
    return value as Readonly<Record<string, string>>;
  },
};

function wrong(path: string, expected: string): FieldError {
  return new FieldError(`${path}: expected ${expected}`);
}
