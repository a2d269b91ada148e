import type { RangeEntry } from '../kv.ts';
import type { Endpoint } from './endpoints.ts';
import { grpcCall } from './grpc-call.ts';
import { JunkAnswerError } from './json-fields.ts';
import { withoutRoot } from './kv-fields.ts';
import { encodeMessage, type FieldCursor, fieldCursor } from './protobuf.ts';

/** Bytes of keys as they are: a foreign key need not be UTF-8. */
interface RawRange {
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
  readonly limit: number;
  /** `"0"`: the newest. */
  readonly revision: string;
}

export interface RawPage {
  readonly revision: string;
  readonly kvs: readonly RangeEntry[];
  readonly more: boolean;
  /** null where there is none. */
  readonly lastKey: Buffer | null;
}

const NO_KEY = Buffer.alloc(0);

/**
 * `KV.Range` with the field numbers of etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto, the same from 3.4 to 3.6.
 * @param root what every key of the answer starts with; it is taken off
 */
export async function grpcRange(
  endpoint: Endpoint,
  headers: Readonly<Record<string, string>>,
  range: RawRange,
  root: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<RawPage> {
  const request = encodeMessage([
    [1, range.key],
    [2, range.rangeEnd],
    [3, range.limit],
    [4, BigInt(range.revision)],
  ]);
  const answer = await grpcCall(endpoint.grpcPool, '/etcdserverpb.KV/Range', headers, request, maxBytes, signal);
  try {
    return parseRangeResponse(answer, root);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new JunkAnswerError(cause.message);
  }
}

/** @throws RangeError for what is no such message, JunkAnswerError for a key outside of `root` */
export function parseRangeResponse(message: Buffer, root: string): RawPage {
  const kvs: RangeEntry[] = [];
  let revision = '0';
  let more = false;
  let lastAt: number | null = null;
  const fields = fieldCursor(message);
  for (let id = fields.next(); id !== 0; id = fields.next()) {
    if (id === 1) {
      const outer = fields.enter();
      revision = parseRevision(fields);
      fields.leave(outer);
    } else if (id === 2) {
      const outer = fields.enter();
      lastAt = fields.position();
      kvs.push(parseKeyValue(fields, root));
      fields.leave(outer);
    } else if (id === 3) {
      more = fields.int64() !== '0';
    } else {
      fields.skip();
    }
  }
  if (revision === '0') throw new RangeError('a range response without a revision');
  return { revision, kvs, more, lastKey: lastAt === null ? null : parseKey(fieldCursor(message.subarray(lastAt))) };
}

function parseRevision(fields: FieldCursor): string {
  let revision = '0';
  for (let id = fields.next(); id !== 0; id = fields.next()) {
    if (id === 3) revision = fields.int64();
    else fields.skip();
  }
  return revision;
}

function parseKeyValue(fields: FieldCursor, root: string): RangeEntry {
  let key = '';
  let value = '';
  let modRevision = '0';
  for (let id = fields.next(); id !== 0; id = fields.next()) {
    if (id === 1) key = fields.text();
    else if (id === 3) modRevision = fields.int64();
    else if (id === 5) value = fields.text();
    else fields.skip();
  }
  return { key: withoutRoot(key, root), value, modRevision };
}

/** The key's own bytes, which its text may not keep. */
function parseKey(fields: FieldCursor): Buffer {
  for (let id = fields.next(); id !== 0; id = fields.next()) {
    if (id === 1) return fields.bytes();
    fields.skip();
  }
  return NO_KEY;
}
