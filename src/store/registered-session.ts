import { decodeRecord, encodeRecord } from '../record/codec.ts';
import type { NodeRecord } from '../record/record.ts';
import { keysOf, presenceKey, recordKey } from './keys.ts';
import type { Guard, KeyValue, Kv, TxnResult } from './kv.ts';
import { holds, MAX_ATTEMPTS, presenceOf, startedLater, unchanged } from './registration.ts';
import type { Hold, NotHeld, Superseded, WriteOutcome } from './store.ts';
import { LeaseNotFoundError, StoreError } from './store-errors.ts';

/** The two keys of a registration, read at one revision; null: the key does not exist. */
interface RegistrationKeys {
  readonly presence: KeyValue | null;
  readonly record: KeyValue | null;
}

/**
 * Why the presence is not this session's. One that certainly started earlier does not supersede it: a restored backup has
 * brought that presence back, and registering replaces it. @param presence its text; null: it does not exist
 */
export function whyNotHeld({ registration }: Hold, presence: string | null): NotHeld {
  const holder = presenceOf(presence);
  return holder === null || holder.session === registration.session || startedLater(registration, holder)
    ? { kind: 'lost' }
    : { kind: 'superseded', by: holder.session };
}

type DepartureDecision =
  | { readonly kind: 'write'; readonly guards: readonly Guard[] }
  | { readonly kind: 'written'; readonly revision: string }
  | { readonly kind: 'lost' }
  | Superseded;

/**
 * How an agent can still deregister when the presence is not on its lease. It may replace the record while no other
 * session has written one, but for one that certainly started earlier and is back from a backup, presence and record. An
 * earlier attempt, whose answer was lost, may have deregistered already.
 * @param json the record with its departure, encoded
 */
export function decideDeparture(hold: Hold, json: string, seen: RegistrationKeys): DepartureDecision {
  const { instanceId, session } = hold.registration;
  const presence = seen.presence?.value ?? null;
  const reason = whyNotHeld(hold, presence);
  if (reason.kind === 'superseded' || seen.record === null) return reason;
  if (seen.presence === null && seen.record.value === json)
    return { kind: 'written', revision: seen.record.modRevision };
  const record = decodeRecord(instanceId, seen.record.value);
  // Without a presence, one of another session says nothing of what came after this session: it may be the one before it.
  const writer = presenceOf(presence)?.session ?? session;
  if (!record.ok || ![writer, session].includes(record.value.sidecar.session)) return { kind: 'lost' };
  return {
    kind: 'write',
    guards: [unchanged(presenceKey(instanceId), seen.presence), unchanged(recordKey(instanceId), seen.record)],
  };
}

/**
 * `Store.depart` over any key-value store. Unlike an update it needs no guard on the record's revision: it deletes the
 * presence, so the guard of every earlier update of this session that arrives later fails. The leases are left to run
 * out, but for that of a registration that may arrive later: the process is about to exit, and must not wait for cleaning up.
 * Such a registration may come before its lease has ended, and undo the departure, so then the keys are looked at again.
 */
export async function depart(kv: Kv, hold: Hold, record: NodeRecord, signal: AbortSignal): Promise<WriteOutcome> {
  const { instanceId } = hold.registration;
  const json = encodeRecord(record);
  let guards: readonly Guard[] = [holds(hold)];
  let { mayComeLate } = hold;
  // As in `register`, a lost race needs no pause.
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const result = await writeDeparture(kv, hold, json, guards, signal);
    if (mayComeLate) {
      // Without its lease the store refuses it. A lease with a key has it already.
      mayComeLate = !(await kv.releaseEmpty(hold.presenceLease, signal));
      continue;
    }
    if (result.succeeded) return { kind: 'written', revision: result.revision };
    const [presence, stored] = [result.reads[0] ?? null, result.reads[1] ?? null];
    const decision = decideDeparture(hold, json, { presence, record: stored });
    if (decision.kind !== 'write') return decision;
    guards = decision.guards;
  }
  throw new StoreError(`depart ${instanceId}: its keys changed before each of ${MAX_ATTEMPTS} attempts`, {
    retryable: true,
  });
}

/** Puts the record on its retention lease, or on a new one if that is gone: the departure must stay readable. */
async function writeDeparture(
  kv: Kv,
  hold: Hold,
  json: string,
  guards: readonly Guard[],
  signal: AbortSignal,
): Promise<TxnResult> {
  const { instanceId, retentionMs } = hold.registration;
  const keys = keysOf(instanceId);
  const put = (lease: string) =>
    kv.txn({ guards, puts: [{ key: keys[1], value: json, lease }], deletes: [keys[0]], reads: keys }, signal);
  try {
    return await put(hold.retentionLease);
  } catch (error) {
    if (!(error instanceof LeaseNotFoundError)) throw error;
  }
  await kv.grant(retentionMs, signal, hold.retentionLease);
  return put(hold.retentionLease);
}

/** What the store remembers of a hold, in memory only: without it an update or a watch needs one more call. */
interface HoldNotes {
  /** The record's revision when this hold last read or wrote it; `"0"`: unknown, or no record. */
  recordRevision: string;
  /** The registration's revision until a watch has begun there; null afterwards. */
  unwatchedSince: string | null;
  /** What the record may be by this hold's doing: the text that was written last, and those sent since without an answer. */
  texts: readonly string[];
}

/** The notes of each hold, for as long as the hold is referenced. */
export function createHoldNotes(): (hold: Hold) => HoldNotes {
  const notes = new WeakMap<Hold, HoldNotes>();
  return (hold) => {
    const known = notes.get(hold) ?? { recordRevision: '0', unwatchedSince: null, texts: [] };
    notes.set(hold, known);
    return known;
  };
}

/**
 * `ended`: `Store.notHeld` over any key-value store. A record that this hold did not write counts as lost, too: a store that
 * was restored from a backup has the node's presence with an earlier record, which registering replaces.
 */
export async function readHold(
  kv: Kv,
  hold: Hold,
  notes: HoldNotes,
  signal: AbortSignal,
): Promise<{ readonly ended: NotHeld | null; readonly revision: string }> {
  const reads = keysOf(hold.registration.instanceId);
  // An update may be carried out before or after this read, whichever is answered first.
  const before = notes.texts;
  const { reads: seen, revision } = await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
  const [presence = null, record = null] = seen;
  if (presence?.lease !== hold.presenceLease) return { ended: whyNotHeld(hold, presence?.value ?? null), revision };
  const isOwn = record !== null && [...before, ...notes.texts].includes(record.value);
  return { ended: isOwn ? null : { kind: 'lost' }, revision };
}

/**
 * `Store.untilNotHeld` over any key-value store. The first watch goes on from the registration. One that follows on a
 * broken one reads the keys first: the store may have been replaced meanwhile, or have forgotten the changes in between.
 */
export async function untilNotHeld(kv: Kv, hold: Hold, notes: HoldNotes, signal: AbortSignal): Promise<NotHeld> {
  const { instanceId } = hold.registration;
  const keys = keysOf(instanceId);
  let since = notes.unwatchedSince;
  notes.unwatchedSince = null;
  if (since === null) {
    const now = await readHold(kv, hold, notes, signal);
    if (now.ended !== null) return now.ended;
    since = now.revision;
  }
  const own = holds(hold).value;
  for await (const { events } of kv.watchKeys(keys, since, signal)) {
    for (const { key, value } of events) {
      if (key === keys[0] ? value !== own : value === null) return whyNotHeld(hold, key === keys[0] ? value : null);
    }
  }
  throw new StoreError(`watch the keys of ${instanceId}: the watch ended`, { retryable: true });
}

/** Of one that is forgotten only this follows: if the store has it, the node registers again. */
const MAX_UNANSWERED = 8;

/**
 * `Store.update` over any key-value store. The guard on the record's revision is against earlier writes of the same
 * session: one whose answer was lost may arrive late, and must not be carried out after a newer one. Of two writes that
 * expect the same revision only one succeeds; the newer one is then retried, the older one is not.
 */
export async function updateRecord(
  kv: Kv,
  hold: Hold,
  notes: HoldNotes,
  record: NodeRecord,
  signal: AbortSignal,
): Promise<WriteOutcome> {
  const { instanceId } = hold.registration;
  const keys = keysOf(instanceId);
  const put = { key: keys[1], value: encodeRecord(record), lease: hold.retentionLease };
  notes.texts = [...notes.texts.slice(-MAX_UNANSWERED), put.value];
  try {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      const guards = [holds(hold), { key: keys[1], modRevision: notes.recordRevision }];
      const result = await kv.txn({ guards, puts: [put], deletes: [], reads: keys }, signal);
      if (result.succeeded) {
        notes.recordRevision = result.revision;
        notes.texts = [put.value];
        return { kind: 'written', revision: result.revision };
      }
      const [presence, stored] = [result.reads[0] ?? null, result.reads[1] ?? null];
      if (presence?.lease !== hold.presenceLease) return whyNotHeld(hold, presence?.value ?? null);
      notes.recordRevision = unchanged(keys[1], stored).modRevision;
      // An earlier attempt, whose answer was lost, wrote it: writing it again would be a revision without a change.
      if (stored?.value === put.value && stored.lease === put.lease) {
        notes.texts = [put.value];
        return { kind: 'written', revision: stored.modRevision };
      }
    }
  } catch (error) {
    // The retention lease ended while the presence exists: registering creates both again.
    if (error instanceof LeaseNotFoundError) return { kind: 'lost' };
    throw error;
  }
  throw new StoreError(`update ${instanceId}: its record changed before each of ${MAX_ATTEMPTS} attempts`, {
    retryable: true,
  });
}
