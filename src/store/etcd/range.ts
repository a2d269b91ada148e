import { BodyTooLargeError } from '../../net/bounded-request.ts';
import type { Kv, RangePage, RangeQuery } from '../kv.ts';
import { StoreError } from '../store-error.ts';
import { fromBase64, keyAfter, prefixEnd, toBase64 } from './bytes.ts';
import type { Gateway } from './gateway.ts';
import { flagField, headerRevision, type JsonObject, JunkAnswerError, objectsField, textField } from './json-fields.ts';
import { parseKeyValue } from './kv-fields.ts';

/**
 * Keys per page. etcd walks the index of all keys after the first for every page, so many small pages cost it more than
 * their answers; 5,000 ordinary keys are 2 to 8 MB of JSON.
 */
const PAGE_KEYS = 5_000;

/** Marks a cursor whose key is no UTF-8, which only a foreign key can be; no key of ours starts so. */
const RAW_CURSOR = '\0base64:';

/** @param root what every key of ours starts with */
export function etcdRange(gateway: Gateway, root: string): Kv['range'] {
  const page = (query: RangeQuery, limit: number, signal: AbortSignal): Promise<RangePage> => {
    const body = {
      key: query.from === undefined ? toBase64(root + query.prefix) : cursorKey(query.from, root),
      range_end: prefixEnd(root + query.prefix),
      limit: String(limit),
      ...(query.revision === undefined ? {} : { revision: query.revision }),
    };
    const call = { path: '/v3/kv/range', body, repeatable: true };
    return gateway.call(call, signal, (answer) => parsePage(answer, root, query.revision));
  };

  return async (query, signal) => {
    for (let limit = PAGE_KEYS; ; limit = Math.floor(limit / 2)) {
      try {
        return await page(query, limit, signal);
      } catch (error) {
        // Values may be up to 1.5 MB each: ask for fewer. A single one always fits.
        const tooLarge = error instanceof StoreError && error.cause instanceof BodyTooLargeError;
        if (!tooLarge || limit === 1) throw error;
      }
    }
  };
}

function parsePage(answer: JsonObject, root: string, revision: string | undefined): RangePage {
  const kvs = objectsField(answer, 'kvs');
  const more = flagField(answer, 'more');
  const last = kvs.at(-1);
  if (more && last === undefined) throw new JunkAnswerError('the answer promises more keys after none');
  return {
    revision: revision ?? headerRevision(answer),
    kvs: kvs.map((kv) => parseKeyValue(kv, root)),
    next: more && last ? cursor(keyAfter(textField(last, 'key')), root) : null,
  };
}

/** Where the next page starts, as a key without `root` if its bytes survive that, or else as they are. */
function cursor(keyBase64: string, root: string): string {
  const key = fromBase64(keyBase64);
  return toBase64(key) === keyBase64 ? key.slice(root.length) : RAW_CURSOR + keyBase64;
}

function cursorKey(from: string, root: string): string {
  return from.startsWith(RAW_CURSOR) ? from.slice(RAW_CURSOR.length) : toBase64(root + from);
}
