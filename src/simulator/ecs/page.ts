import { createHash } from 'node:crypto';
import { invalidParameter } from './aws-error.ts';
import type { RequestInput } from './request-input.ts';

/** At most, and by default. */
const MAX_RESULTS = 100;

export interface PageOf<T> {
  readonly items: readonly T[];
  readonly nextToken?: string;
}

/**
 * The page that `nextToken` and `maxResults` of a request ask for. A token names the last key of its page, so that
 * what appears or goes between two pages neither repeats nor hides another.
 * @param scope what is listed: a token of another list is refused
 */
export function page<T>(all: Iterable<readonly [key: string, item: T]>, scope: string, input: RequestInput): PageOf<T> {
  const size = input.integer('maxResults') ?? MAX_RESULTS;
  if (size < 1 || size > MAX_RESULTS)
    throw invalidParameter(`Invalid maxResults: ${size}. It must be between 1 and 100.`);
  const token = input.text('nextToken');
  const after = token === undefined ? null : readToken(token, scope);
  const rest = [...all].filter(([key]) => after === null || key > after).sort(([a], [b]) => (a < b ? -1 : 1));
  const here = rest.slice(0, size);
  const last = here.at(-1);
  const items = here.map(([, item]) => item);
  return rest.length > size && last ? { items, nextToken: writeToken(last[0], scope) } : { items };
}

function writeToken(key: string, scope: string): string {
  return Buffer.from(`${seal(key, scope)}${key}`).toString('base64url');
}

function readToken(token: string, scope: string): string {
  const text = Buffer.from(token, 'base64url').toString('utf8');
  const key = text.slice(SEAL_LENGTH);
  if (key !== '' && text === `${seal(key, scope)}${key}`) return key;
  throw invalidParameter('Invalid token.');
}

const SEAL_LENGTH = 16;

function seal(key: string, scope: string): string {
  return createHash('sha256')
    .update(JSON.stringify([scope, key]))
    .digest('hex')
    .slice(0, SEAL_LENGTH);
}
