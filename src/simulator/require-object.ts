import { UsageError } from '../errors.ts';

/**
 * The JSON object that a control request carries, with no other keys than these.
 * @throws UsageError naming what is allowed @param what for messages: `faults`
 */
export function requireObject<Key extends string>(
  what: string,
  keys: readonly Key[],
  value: unknown,
): Partial<Readonly<Record<Key, unknown>>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`${what}: expected a JSON object with any of ${keys.join(', ')}`);
  }
  const unknown = Object.keys(value).find((key) => !keys.some((one) => one === key));
  if (unknown === undefined) return value;
  throw new UsageError(`${what}: unknown key ${JSON.stringify(unknown)}; use any of ${keys.join(', ')}`);
}
