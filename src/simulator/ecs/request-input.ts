import { AwsError, invalidParameter } from './aws-error.ts';

/** The members of a request. A reader throws AWS's error for a member that has another type. */
export interface RequestInput {
  text(name: string): string | undefined;
  requiredText(name: string): string;
  integer(name: string): number | undefined;
  /** Absent: empty. @param max AWS's limit @param what as AWS calls them: `instanceIds` */
  texts(name: string, max: number, what: string): readonly string[];
  /** As `texts`; for each member of the list its input. */
  items(name: string, max: number): readonly RequestInput[];
}

export function requestInput(value: unknown): RequestInput {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw mistyped('the request', 'an object');
  const members = value as Readonly<Record<string, unknown>>;
  const member = (name: string) => members[name] ?? undefined;
  const text = (name: string): string | undefined => {
    const found = member(name);
    if (found === undefined || typeof found === 'string') return found;
    throw mistyped(name, 'a string');
  };
  const list = (name: string, max: number, what: string): readonly unknown[] => {
    const found = member(name) ?? [];
    if (!Array.isArray(found)) throw mistyped(name, 'a list');
    if (found.length > max) throw invalidParameter(`${what} can have at most ${max} items.`);
    return found;
  };
  return {
    text,
    requiredText: (name) => {
      const found = text(name);
      if (found) return found;
      throw invalidParameter(`${name} can not be blank.`);
    },
    integer: (name) => {
      const found = member(name);
      if (found === undefined || Number.isSafeInteger(found)) return found as number | undefined;
      throw mistyped(name, 'an integer');
    },
    texts: (name, max, what) =>
      list(name, max, what).map((one) => {
        if (typeof one === 'string') return one;
        throw mistyped(`${name} member`, 'a string');
      }),
    items: (name, max) => list(name, max, name).map(requestInput),
  };
}

function mistyped(name: string, expected: string): AwsError {
  return new AwsError('SerializationException', `${name}: expected ${expected}`);
}
