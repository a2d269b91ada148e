import { createHash } from 'node:crypto';
import type { RollEntry } from '../record/roll.ts';

/**
 * A weak entity tag (RFC 9110, section 8.8.3): two answers with the same tag mean the same, though they may differ in bytes
 * and in `ageMs`.
 * @param content all that the answer depends on
 */
export function entityTag(content: unknown): string {
  const digest = createHash('sha256').update(JSON.stringify(content)).digest('base64url');
  return `W/"${digest.slice(0, 22)}"`;
}

/** Makes the tag of an answer that shows the roll, without reading each node. */
export type RollTag = (entries: readonly RollEntry[], rest: unknown) => string;

/**
 * A view makes a new array of entries for each change of a node, so that an array stands for its content. The store's
 * revision does not: a store that was restored from a backup has the same one with other nodes.
 * @param session of this process: the arrays of two processes have nothing in common
 */
export function createRollTag(session: () => string): RollTag {
  const numbers = new WeakMap<readonly RollEntry[], number>();
  let last = 0;
  return (entries, rest) => {
    let number = numbers.get(entries);
    if (number === undefined) {
      last += 1;
      number = last;
      numbers.set(entries, number);
    }
    return entityTag([session(), number, rest]);
  };
}

/** Whether an `If-None-Match` header has the tag; by the weak comparison, as RFC 9110 wants it for this header. */
export function tagMatches(ifNoneMatch: string | undefined, tag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === '*') return true;
  const opaque = tag.replace(/^W\//, '');
  return [...ifNoneMatch.matchAll(/(?:W\/)?("[^"]*")/g)].some(([, each]) => each === opaque);
}
