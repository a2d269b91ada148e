import type { KvEvent } from '../kv.ts';
import { fromBase64 } from './bytes.ts';
import { GatewayRefusal, parseAnswer } from './gateway-refusal.ts';
import {
  flagField,
  headerRevision,
  int64Field,
  type JsonObject,
  JunkAnswerError,
  objectField,
  objectsField,
  textField,
} from './json-fields.ts';
import { parseKey } from './kv-fields.ts';

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
