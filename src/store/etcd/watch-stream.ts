import { boundedText } from '../../lib/http-client.ts';
import type { KvBatch, KvEvent } from '../kv.ts';
import { type Endpoint, type Gateway, jsonLines, MAX_ANSWER_BYTES } from './client.ts';
import {
  flagField,
  GatewayRefusal,
  headerRevision,
  int64Field,
  type JsonObject,
  JunkAnswerError,
  objectField,
  objectsField,
  parseAnswer,
  textField,
} from './errors.ts';
import { fromBase64, parseKey, prefixEnd, toBase64 } from './messages.ts';

/** One line of a watch stream. */
export type WatchAnswer =
  | { readonly kind: 'created' }
  /** The changes after the revision asked for are gone. */
  | { readonly kind: 'compacted'; readonly compactRevision: string }
  /** Everything up to `revision` was sent on this stream. */
  | { readonly kind: 'progress'; readonly revision: string }
  | {
      readonly kind: 'events';
      readonly events: readonly RevisionEvent[];
      /** More of the same answer follows, perhaps of the last revision here. */
      readonly partial: boolean;
      /** What one of them replaced is not there: a compaction came before etcd looked it up. */
      readonly lacksPrevious: boolean;
    };

export interface RevisionEvent {
  readonly revision: string;
  readonly event: KvEvent;
}

/** @param root what every key of ours starts with @throws GatewayRefusal when etcd ends the watch, JunkAnswerError */
export function parseWatchAnswer(line: string, root: string): WatchAnswer {
  const answer = parseAnswer(200, line);
  if (flagField(answer, 'canceled')) {
    const compactRevision = int64Field(answer, 'compact_revision');
    if (compactRevision !== '0') return { kind: 'compacted', compactRevision };
    throw refusalOf(textField(answer, 'cancel_reason'));
  }
  if (flagField(answer, 'created')) return { kind: 'created' };
  const events = objectsField(answer, 'events');
  if (events.length === 0) return { kind: 'progress', revision: headerRevision(answer) };
  return {
    kind: 'events',
    events: events.map((event) => parseEvent(event, root)),
    partial: flagField(answer, 'fragment'),
    lacksPrevious: events.some(lacksPrevious),
  };
}

/**
 * 3.4.23 says "invalid auth token" of a watch whose token is gone, earlier releases say "permission denied" of it as of
 * any other (source: `isWatchPermitted` in api/v3rpc/watch.go). Both get the code of a refused token, so that a new one
 * is tried before the denial is believed.
 */
function refusalOf(cancelReason: string): GatewayRefusal {
  const reason = cancelReason.replace(/^rpc error: code = \w+ desc = /, '') || 'no reason given';
  const unauthenticated = /permission denied|auth token|user name is empty/.test(reason);
  return new GatewayRefusal(unauthenticated ? 16 : 14, `the watch was canceled (${reason})`);
}

/** Without a word etcd leaves out what it cannot find any more; only of a new key there is nothing to be found. */
function lacksPrevious(event: JsonObject): boolean {
  if (event['prev_kv'] !== undefined) return false;
  const kv = objectField(event, 'kv');
  return event['type'] === 'DELETE' || int64Field(kv, 'create_revision') !== int64Field(kv, 'mod_revision');
}

function parseEvent(event: JsonObject, root: string): RevisionEvent {
  const kv = objectField(event, 'kv');
  const revision = int64Field(kv, 'mod_revision');
  if (revision === '0') throw new JunkAnswerError('the answer has an event without a revision');
  const previous = event['prev_kv'] === undefined ? null : objectField(event, 'prev_kv');
  return {
    revision,
    event: {
      key: parseKey(kv, root),
      value: event['type'] === 'DELETE' ? null : fromBase64(textField(kv, 'value')),
      previous: previous && fromBase64(textField(previous, 'value')),
    },
  };
}

/** A watch that etcd has confirmed. It reads on only when the next answer is asked for. */
export interface WatchStream {
  readonly endpoint: Endpoint;
  /** Aborts when the watch's caller does, and on `close`. */
  readonly signal: AbortSignal;
  /** The next answer; null when etcd ended the stream. */
  next(): Promise<WatchAnswer | null>;
  close(): void;
}

/** Watches all keys below `root` from the revision after `revision`, at the first endpoint that confirms it in time. */
export function openWatchStream(
  gateway: Gateway,
  root: string,
  revision: string,
  signal: AbortSignal,
): Promise<WatchStream> {
  const body = JSON.stringify({
    create_request: {
      key: toBase64(root),
      range_end: prefixEnd(root),
      start_revision: String(BigInt(revision) + 1n),
      prev_kv: true,
      progress_notify: true,
      // Answers above etcd's largest request (1.5 MB) come in parts, so that a line stays within its bound.
      fragment: true,
    },
  });
  return gateway.endpoints.attempt({ repeatable: true }, signal, (endpoint, openSignal) =>
    gateway.withToken(endpoint, (headers) => open(endpoint, root, body, headers, signal, openSignal)),
  );
}

/** @param lifeSignal ends the stream at any time @param openSignal ends it only until it is confirmed */
async function open(
  endpoint: Endpoint,
  root: string,
  body: string,
  headers: Readonly<Record<string, string>>,
  lifeSignal: AbortSignal,
  openSignal: AbortSignal,
): Promise<WatchStream> {
  const controller = new AbortController();
  const onLifeEnd = () => controller.abort(lifeSignal.reason);
  const onOpenEnd = () => controller.abort(openSignal.reason);
  lifeSignal.addEventListener('abort', onLifeEnd, { once: true });
  openSignal.addEventListener('abort', onOpenEnd, { once: true });
  const close = () => {
    lifeSignal.removeEventListener('abort', onLifeEnd);
    controller.abort();
  };
  try {
    const response = await endpoint.pool.request({
      method: 'POST',
      path: '/v3/watch',
      // A member that lost its leader ends the watch then, instead of going silent.
      headers: { 'content-type': 'application/json', 'grpc-metadata-hasleader': 'true', ...headers },
      body,
      signal: controller.signal,
    });
    // Without a listener, the error of a stream that nobody reads at that moment would end the process.
    response.body.on('error', () => {});
    if (response.statusCode !== 200) {
      parseAnswer(response.statusCode, await boundedText(response.body, MAX_ANSWER_BYTES));
    }
    const lines = jsonLines(response.body, MAX_ANSWER_BYTES);
    const next = async () => {
      const line = await lines.next();
      return line.done ? null : parseWatchAnswer(line.value, root);
    };
    const first = await next();
    if (first?.kind !== 'created') throw new JunkAnswerError('the watch was not confirmed');
    return { endpoint, signal: controller.signal, next, close };
  } catch (error) {
    close();
    throw error;
  } finally {
    openSignal.removeEventListener('abort', onOpenEnd);
  }
}

/** Events that may not be all of their revision, and the revisions that are whole. */
interface Regrouped {
  readonly batches: readonly KvBatch[];
  readonly held: readonly RevisionEvent[];
}

/**
 * Groups events by revision. An answer that etcd split (`partial`) may have been cut within its last revision, which
 * is therefore held back until the next part is there.
 * @param held what the last call held back @param events in the order of their revisions
 */
export function regroup(held: readonly RevisionEvent[], events: readonly RevisionEvent[], partial: boolean): Regrouped {
  const groups: RevisionEvent[][] = [];
  for (const event of [...held, ...events]) {
    const group = groups.at(-1);
    if (group?.[0]?.revision === event.revision) group.push(event);
    else groups.push([event]);
  }
  const rest = partial ? (groups.pop() ?? []) : [];
  return { batches: groups.map(toBatch), held: rest };
}

function toBatch(group: readonly RevisionEvent[]): KvBatch {
  return { revision: group[0]?.revision ?? '0', events: group.map(({ event }) => event) };
}
