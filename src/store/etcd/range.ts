import { BodyTooLargeError } from '../../net/bounded-request.ts';
import type { Clock } from '../../timing/clock.ts';
import { DeadlineError } from '../../timing/with-deadline.ts';
import type { Kv, RangePage, RangeQuery } from '../kv.ts';
import { StoreError } from '../store-error.ts';
import { fromBase64, keyAfter, prefixEnd, toBase64 } from './bytes.ts';
import type { Endpoint } from './endpoints.ts';
import { type Gateway, MAX_ANSWER_BYTES, post } from './gateway.ts';
import { GatewayRefusal } from './gateway-refusal.ts';
import { grpcRange, type RawPage } from './grpc-range.ts';
import { flagField, headerRevision, type JsonObject, JunkAnswerError, objectsField, textField } from './json-fields.ts';
import { parseRangeEntry } from './kv-fields.ts';
import type { Witness } from './witness.ts';

/**
 * Keys per page. etcd walks the index of all keys after the first for every page, so many small pages cost it more than
 * their answers; 5,000 ordinary keys are 2 to 8 MB of JSON.
 */
const PAGE_KEYS = 5_000;

/** Marks a cursor whose key is no UTF-8, which only a foreign key can be; no key of ours starts so. */
const RAW_CURSOR = '\0base64:';

/**
 * How long an endpoint is not asked over gRPC after it gave no answer there. Where a proxy speaks HTTP/1.1 only this
 * costs one connection each time; a connection that somebody on the way forgot is closed by then, being idle.
 */
const GRPC_PAUSE_MS = 600_000;

interface RangeDeps {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** What every key of ours starts with. */
  readonly root: string;
  readonly witness: Witness;
}

/** Queries without a limit are expected to be large, and take etcd's gRPC where it answers. */
export function etcdRange(gateway: Gateway, { clock, root, witness }: RangeDeps): Kv['range'] {
  const grpcAgainAtMs = new Map<Endpoint, number>();
  const pauseGrpc = (endpoint: Endpoint) => grpcAgainAtMs.set(endpoint, clock.monotonicMs() + GRPC_PAUSE_MS);
  const mayTryGrpc = (endpoint: Endpoint) => clock.monotonicMs() >= (grpcAgainAtMs.get(endpoint) ?? -Infinity);

  /** null where gRPC does not get through. */
  const grpcPage = async (
    endpoint: Endpoint,
    headers: Readonly<Record<string, string>>,
    range: Parameters<typeof grpcRange>[2],
    signal: AbortSignal,
  ): Promise<RawPage | null> => {
    try {
      return await grpcRange(endpoint, headers, range, root, MAX_ANSWER_BYTES, signal);
    } catch (error) {
      if (signal.aborted && signal.reason instanceof DeadlineError) pauseGrpc(endpoint);
      if (signal.aborted || isAnswerOfEtcd(error)) throw error;
      return null;
    }
  };

  const page = (query: RangeQuery, limit: number, signal: AbortSignal): Promise<RangePage> => {
    const key = query.from === undefined ? toBase64(root + query.prefix) : cursorKey(query.from, root);
    const rangeEnd = query.to === undefined ? prefixEnd(root + query.prefix) : toBase64(root + query.to);
    return gateway.run({ repeatable: true }, signal, async (endpoint, headers, attemptSignal) => {
      const tryGrpc = query.limit === undefined && mayTryGrpc(endpoint);
      if (tryGrpc) {
        const range = { key: bytes(key), rangeEnd: bytes(rangeEnd), limit, revision: query.revision ?? '0' };
        const raw = await grpcPage(endpoint, headers, range, attemptSignal);
        if (raw) return rawPage(raw, root, query);
      }
      const revision = query.revision === undefined ? {} : { revision: query.revision };
      const body = { key, range_end: rangeEnd, limit: String(limit), ...revision };
      const parsed = parsePage(
        await post(endpoint, '/v3/kv/range', body, headers, attemptSignal),
        root,
        query.revision,
      );
      // Only now is it certain that gRPC is what failed, and not the endpoint.
      if (tryGrpc) pauseGrpc(endpoint);
      return parsed;
    });
  };

  return async (query, signal) => {
    for (let limit = Math.min(query.limit ?? PAGE_KEYS, PAGE_KEYS); ; limit = Math.floor(limit / 2)) {
      try {
        const answer = await page(query, limit, signal);
        witness.sawKeys(answer.revision, answer.kvs);
        return answer;
      } catch (error) {
        // Values may be up to 1.5 MB each: ask for fewer. A single one always fits.
        const tooLarge = error instanceof StoreError && error.cause instanceof BodyTooLargeError;
        if (!tooLarge || limit === 1) throw error;
      }
    }
  };
}

/** gRPC's "unimplemented": something that speaks gRPC, and is no etcd. */
const UNIMPLEMENTED = 12;

/** Any other failure is of the connection over HTTP/2, or of something else that answered it. */
function isAnswerOfEtcd(error: unknown): boolean {
  if (error instanceof GatewayRefusal) return error.code !== UNIMPLEMENTED;
  return error instanceof BodyTooLargeError || error instanceof StoreError;
}

function rawPage(page: RawPage, root: string, query: RangeQuery): RangePage {
  if (page.more && page.lastKey === null) throw new JunkAnswerError('the answer promises more keys after none');
  const next = page.more && page.lastKey ? cursor(keyAfter(page.lastKey.toString('base64')), root) : null;
  return { revision: query.revision ?? page.revision, kvs: page.kvs, next };
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
    kvs: kvs.map((kv) => parseRangeEntry(kv, root)),
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
