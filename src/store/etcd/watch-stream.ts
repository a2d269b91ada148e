import { linkSignals, onAbort } from '../../lib/abort.ts';
import type { KvBatch, KvEvent } from '../kv.ts';
import { RpcError } from './channel.ts';
import type { Endpoint, EtcdClient } from './etcd-client.ts';
import { JunkAnswerError } from './etcd-errors.ts';
import { prefixEnd, revisionOf, withoutRoot } from './key-range.ts';
import { WATCH, type WatchEvent, WatchRequest, WatchResponse } from './rpc.ts';

/** One answer of a watch stream. */
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

/** @param root what every key of ours starts with @throws RpcError when etcd ends the watch, RangeError, JunkAnswerError */
export function parseWatchAnswer(bytes: Buffer, root: string): WatchAnswer {
  const answer = WatchResponse.decode(bytes);
  if (answer.canceled) {
    const { compactRevision } = answer;
    if (compactRevision !== '0') return { kind: 'compacted', compactRevision };
    throw refusalOf(answer.cancelReason);
  }
  if (answer.created) return { kind: 'created' };
  if (answer.events.length === 0) return { kind: 'progress', revision: revisionOf(answer) };
  return {
    kind: 'events',
    events: answer.events.map((event) => parseEvent(event, root)),
    partial: answer.fragment,
    lacksPrevious: answer.events.some(lacksPrevious),
  };
}

/**
 * 3.4.23 says "invalid auth token" of a watch whose token is gone, earlier releases say "permission denied" of it as of
 * any other (source: `isWatchPermitted` in api/v3rpc/watch.go). Both get the code of a refused token, so that a new one
 * is tried before the denial is believed.
 */
function refusalOf(cancelReason: string): RpcError {
  const reason = cancelReason.replace(/^rpc error: code = \w+ desc = /, '') || 'no reason given';
  const unauthenticated = /permission denied|auth token|user name is empty/.test(reason);
  return new RpcError(unauthenticated ? 16 : 14, `the watch was canceled (${reason})`, true, undefined);
}

/** Without a word etcd leaves out what it cannot find any more; only of a new key there is nothing to be found. */
function lacksPrevious({ type, kv, prevKv }: WatchEvent): boolean {
  return prevKv === null && (type === DELETE || kv?.createRevision !== kv?.modRevision);
}

const DELETE = '1';

function parseEvent({ type, kv, prevKv }: WatchEvent, root: string): RevisionEvent {
  if (kv === null || kv.modRevision === '0') throw new JunkAnswerError('the answer has an event without a revision');
  return {
    revision: kv.modRevision,
    event: {
      key: withoutRoot(kv.key, root),
      value: type === DELETE ? null : kv.value,
      previous: prevKv?.value ?? null,
    },
  };
}

const CLOSED = new Error('the watch was closed');

/** A watch that etcd has confirmed. It reads on only when the next answer is asked for. */
export interface WatchStream {
  readonly endpoint: Endpoint;
  /** Aborts when the watch's caller does, when calls leave its endpoint, and on `close`. */
  readonly signal: AbortSignal;
  /** The next answer; null when etcd ended the stream. */
  next(): Promise<WatchAnswer | null>;
  close(): void;
}

/**
 * Watches from the revision after `revision`, at the first endpoint that confirms it in time.
 * @param keys names below `root`; null: all of them
 */
export function openWatchStream(
  client: EtcdClient,
  root: string,
  keys: readonly string[] | null,
  revision: string,
  signal: AbortSignal,
): Promise<WatchStream> {
  const startRevision = String(BigInt(revision) + 1n);
  const creates =
    keys === null
      ? // Answers above etcd's largest request (1.5 MB) come in parts, so that each stays within its bound.
        [{ key: root, rangeEnd: prefixEnd(root), startRevision, prevKv: true, progressNotify: true, fragment: true }]
      : keys.map((key) => ({ key: root + key, startRevision }));
  const requests = creates.map((createRequest) => WatchRequest.encode({ createRequest }));
  return client.attempt({ repeatable: true, right: `read ${root}` }, signal, (endpoint, headers, openSignal) =>
    open(endpoint, root, requests, headers, [signal, client.untilLeft(endpoint)], openSignal),
  );
}

/** @param lifeSignals end the stream at any time @param openSignal ends it only until it is confirmed */
async function open(
  endpoint: Endpoint,
  root: string,
  requests: readonly Buffer[],
  headers: Readonly<Record<string, string>>,
  lifeSignals: readonly AbortSignal[],
  openSignal: AbortSignal,
): Promise<WatchStream> {
  const life = linkSignals(...lifeSignals);
  using _opening = onAbort(openSignal, (reason) => life.abort(reason));
  const close = () => {
    life[Symbol.dispose]();
    life.abort(CLOSED);
  };
  try {
    // A member that lost its leader ends the watch then, instead of going silent.
    const watchHeaders = { ...headers, hasleader: 'true' };
    const answers = endpoint.channel.stream(WATCH, requests, watchHeaders, life.signal);
    const next = async () => {
      const answer = await answers.next();
      return answer.done ? null : parseWatchAnswer(answer.value, root);
    };
    const first = await next();
    if (first?.kind !== 'created') throw new JunkAnswerError('the watch was not confirmed');
    return { endpoint, signal: life.signal, next, close };
  } catch (error) {
    close();
    throw error;
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
