import { BodyTooLargeError } from '../../net/bounded-request.ts';
import type { Kv, RangePage, RangeQuery } from '../kv.ts';
import { StoreError } from '../store-error.ts';
import { fromBase64, keyAfter, prefixEnd, toBase64 } from './bytes.ts';
import { type Gateway, MAX_ANSWER_BYTES, post } from './gateway.ts';
import { GatewayRefusal } from './gateway-refusal.ts';
import { grpcRange, type RawPage } from './grpc-range.ts';
import { flagField, headerRevision, type JsonObject, JunkAnswerError, objectsField, textField } from './json-fields.ts';
import { parseKeyValue, withoutRoot } from './kv-fields.ts';

/**
 * Keys per page. etcd walks the index of all keys after the first for every page, so many small pages cost it more than
 * their answers; 5,000 ordinary keys are 2 to 8 MB of JSON.
 */
const PAGE_KEYS = 5_000;

/** Marks a cursor whose key is no UTF-8, which only a foreign key can be; no key of ours starts so. */
const RAW_CURSOR = '\0base64:';

/** @param root what every key of ours starts with */
export function etcdRange(gateway: Gateway, root: string): Kv['range'] {
  // Where a proxy speaks HTTP/1.1 only there is no gRPC; asking once for that is enough.
  let grpcAnswers = true;

  const page = (query: RangeQuery, limit: number, signal: AbortSignal): Promise<RangePage> => {
    const key = query.from === undefined ? toBase64(root + query.prefix) : cursorKey(query.from, root);
    const rangeEnd = query.to === undefined ? prefixEnd(root + query.prefix) : toBase64(root + query.to);
    return gateway.run({ repeatable: true }, signal, async (endpoint, headers, attemptSignal) => {
      const tryGrpc = grpcAnswers && query.limit === undefined;
      if (tryGrpc) {
        try {
          const range = { key: bytes(key), rangeEnd: bytes(rangeEnd), limit, revision: query.revision ?? '0' };
          return rawPage(await grpcRange(endpoint, headers, range, MAX_ANSWER_BYTES, attemptSignal), root, query);
        } catch (error) {
          if (attemptSignal.aborted || !isForeignToGrpc(error)) throw error;
        }
      }
      const revision = query.revision === undefined ? {} : { revision: query.revision };
      const body = { key, range_end: rangeEnd, limit: String(limit), ...revision };
      const answer = await post(endpoint, '/v3/kv/range', body, headers, attemptSignal);
      if (tryGrpc) grpcAnswers = false;
      return parsePage(answer, root, query.revision);
    });
  };

  return async (query, signal) => {
    for (let limit = Math.min(query.limit ?? PAGE_KEYS, PAGE_KEYS); ; limit = Math.floor(limit / 2)) {
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

/** Whatever is no answer of etcd's: the connection broke over HTTP/2, or something else answered it. */
function isForeignToGrpc(error: unknown): boolean {
  const answered = error instanceof GatewayRefusal || error instanceof BodyTooLargeError || error instanceof StoreError;
  return !answered;
}

function rawPage(page: RawPage, root: string, query: RangeQuery): RangePage {
  if (page.more && page.lastKey === null) throw new JunkAnswerError('the answer promises more keys after none');
  const next = page.more && page.lastKey ? cursor(keyAfter(page.lastKey.toString('base64')), root) : null;
  const kvs = page.kvs.map((kv) => ({ ...kv, key: withoutRoot(kv.key, root) }));
  return { revision: query.revision ?? page.revision, kvs, next };
}

function bytes(base64: string): Buffer {
  return Buffer.from(base64, 'base64');
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
