import type { KvEvent } from '../kv.ts';
import { fromBase64, toBase64 } from './bytes.ts';
import { int64Field, type JsonObject, objectsField, textField } from './json-fields.ts';

/**
 * One key as it was at the last revision that this store was read or watched at. A store restored from a backup counts
 * on from the backup's revision and soon has every revision again, with other changes behind it. Its header does not
 * tell: restored under the same peer URLs and token, etcd 3.4 has the same cluster id and the same raft term as before.
 */
export interface Witness {
  /** What a range at `revision` brought. */
  sawKeys(
    revision: string,
    kvs: readonly { readonly key: string; readonly value: string; readonly modRevision: string }[],
  ): void;
  /** The events of `revision`. */
  sawEvents(revision: string, events: readonly KvEvent[]): void;
  /** What a member must have for `revision` to be the one that was seen; null when nothing is known about it. */
  at(revision: string): Testimony | null;
  /** A member has something else there. It is still asked about, by whoever else goes on from there, until keys are read anew. */
  refute(): void;
}

interface Testimony {
  /** The query for a range, without its revision. */
  readonly query: Readonly<Record<string, string>>;
  isTrue(rangeAnswer: JsonObject): boolean;
}

interface Seen {
  readonly revision: string;
  readonly key: string;
  /** null: it was not there. */
  readonly value: string | null;
  readonly modRevision: string;
}

/** @param root what every key of ours starts with */
export function createWitness(root: string): Witness {
  let seen: Seen | null = null;
  let refuted = false;

  return {
    sawKeys: (revision, kvs) => {
      // Of all pages read at one revision the key that changed last: the later, the less a backup has of it.
      // The store that took another's place may be at the very same revision: nothing of the old one is kept then.
      let newest = seen?.revision === revision && !refuted ? seen : null;
      for (const { key, value, modRevision } of kvs) {
        if (newest === null || isLater(modRevision, newest.modRevision)) {
          if (isText(key)) newest = { revision, key, value, modRevision };
        }
      }
      seen = newest;
      refuted = false;
    },
    sawEvents: (revision, events) => {
      // What was written says more: many histories have a key missing.
      const known = events.filter(({ key }) => isText(key));
      const event = known.find(({ value }) => value !== null) ?? known[0];
      if (!event) return;
      seen = { revision, key: event.key, value: event.value, modRevision: revision };
      refuted = false;
    },
    at: (revision) => {
      if (seen?.revision !== revision) return null;
      const { key, value, modRevision } = seen;
      return {
        query: { key: toBase64(root + key) },
        isTrue: (answer) => {
          const [kv] = objectsField(answer, 'kvs');
          if (kv === undefined || value === null) return kv === undefined && value === null;
          return int64Field(kv, 'mod_revision') === modRevision && fromBase64(textField(kv, 'value')) === value;
        },
      };
    },
    refute: () => {
      refuted = true;
    },
  };
}

/** Of two revisions as decimal texts. Pages are long, and a BigInt for each key would cost more than reading it. */
function isLater(a: string, b: string): boolean {
  return a.length === b.length ? a > b : a.length > b.length;
}

/** A key that is no UTF-8 came with U+FFFD in place of its bytes, and cannot be asked for. */
function isText(key: string): boolean {
  return !key.includes('\ufffd');
}
