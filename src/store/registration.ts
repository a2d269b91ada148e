import { decodePresence, decodeRecord, encodePresence, encodeRecord } from '../record/codec.ts';
import type { NodeRecord, Presence } from '../record/record.ts';
import { LeaseNotFoundError, StoreError } from './errors.ts';
import { presenceKey, recordKey } from './keys.ts';
import { type Guard, type KeyValue, type Kv, releaseLeases, type TxnResult } from './kv.ts';
import type {
  Hold,
  NotHeld,
  RegisterOptions,
  RegisterOutcome,
  Registration,
  Superseded,
  WriteOutcome,
} from './store.ts';

/** The two keys of a registration, read at one revision; null: the key does not exist. */
interface RegistrationKeys {
  readonly presence: KeyValue | null;
  readonly record: KeyValue | null;
}

type RegistrationDecision = { readonly kind: 'write'; readonly guards: readonly Guard[] } | Superseded;

/**
 * Whether `registration.session` may register, given the presence that was read. Its own presence does not prevent it: it
 * is from an attempt whose answer was lost, or from a lease that the store still has. Nor does an unreadable presence: no
 * agent recognises it as its own. Of two that take over, the one that started later wins, in whatever order they write:
 * otherwise an agent whose registration got no answer could replace a newer one that registered meanwhile.
 */
export function decideRegistration(
  registration: Registration,
  takeover: boolean,
  seen: KeyValue | null,
): RegistrationDecision {
  const holder = presenceOf(seen?.value ?? null);
  if (
    holder !== null &&
    holder.session !== registration.session &&
    !(takeover && !isLaterInstant(holder.since, registration.since))
  ) {
    return { kind: 'superseded', by: holder.session };
  }
  return { kind: 'write', guards: [unchanged(presenceKey(registration.instanceId), seen)] };
}

/** Why the presence is not this session's. @param presence its text; null: it does not exist */
export function whyNotHeld(hold: Hold, presence: string | null): NotHeld {
  const holder = presenceOf(presence)?.session ?? null;
  return holder === null || holder === hold.registration.session
    ? { kind: 'lost' }
    : { kind: 'superseded', by: holder };
}

type DepartureDecision =
  | { readonly kind: 'write'; readonly guards: readonly Guard[] }
  | { readonly kind: 'written'; readonly revision: string }
  | { readonly kind: 'lost' }
  | Superseded;

/**
 * How an agent can still deregister when the presence is not on its lease. It may replace the record while no other
 * session has written one. An earlier attempt, whose answer was lost, may have deregistered already.
 * @param json the record with its departure, encoded
 */
export function decideDeparture(hold: Hold, json: string, seen: RegistrationKeys): DepartureDecision {
  const { instanceId, session } = hold.registration;
  const holder = presenceOf(seen.presence?.value ?? null)?.session ?? null;
  if (holder !== null && holder !== session) return { kind: 'superseded', by: holder };
  if (seen.record === null) return { kind: 'lost' };
  if (seen.presence === null && seen.record.value === json)
    return { kind: 'written', revision: seen.record.modRevision };
  const record = decodeRecord(instanceId, seen.record.value);
  if (!record.ok) return { kind: 'lost' };
  const writer = record.value.sidecar.session;
  if (writer !== session) return { kind: 'superseded', by: writer };
  return {
    kind: 'write',
    guards: [unchanged(presenceKey(instanceId), seen.presence), unchanged(recordKey(instanceId), seen.record)],
  };
}

function presenceOf(text: string | null): Presence | null {
  if (text === null) return null;
  const decoded = decodePresence(text);
  return decoded.ok ? decoded.value : null;
}

/** Compares two RFC 3339 instants; false if one of them cannot be parsed. */
function isLaterInstant(a: string, b: string): boolean {
  return Date.parse(a) > Date.parse(b);
}

/**
 * A guard: the presence is this session's. Its text names the session, and no other session writes the same. Not by its lease,
 * which etcd compares from 3.3 on only.
 */
function holds({ registration, ttlMs }: Hold): { readonly key: string; readonly value: string } {
  const { instanceId, session, since } = registration;
  return { key: presenceKey(instanceId), value: encodePresence({ session, since, ttlSeconds: ttlMs / 1_000 }) };
}

/** A guard: the key has not changed since it was read. */
function unchanged(key: string, seen: KeyValue | null): { readonly key: string; readonly modRevision: string } {
  return { key, modRevision: seen?.modRevision ?? '0' };
}

/** How many writes may fail because the keys changed after they were read, before the caller gets a retryable error. */
const MAX_ATTEMPTS = 3;

/** `Store.register` over any key-value store. */
export async function register(
  kv: Kv,
  registration: Registration,
  record: NodeRecord,
  { takeover, signal, onSent }: RegisterOptions,
): Promise<RegisterOutcome> {
  const reads = [presenceKey(registration.instanceId), recordKey(registration.instanceId)];
  const [presenceLease, retentionLease, seen] = await Promise.allSettled([
    kv.grant(registration.ttlMs, signal),
    kv.grant(registration.retentionMs, signal),
    kv.txn({ guards: [], puts: [], deletes: [], reads }, signal),
  ]);
  const granted = [presenceLease, retentionLease].flatMap((g) => (g.status === 'fulfilled' ? [g.value.lease] : []));
  let mayBeWritten = false;
  try {
    const presence = settledValue(presenceLease);
    const hold: Hold = {
      registration,
      ttlMs: presence.ttlMs,
      presenceLease: presence.lease,
      retentionLease: settledValue(retentionLease).lease,
    };
    const firstSeen = settledValue(seen);
    mayBeWritten = true;
    onSent?.(hold);
    const outcome = await registerWith(kv, hold, record, takeover, firstSeen, signal);
    mayBeWritten = outcome?.kind === 'registered';
    if (outcome) return outcome;
  } catch (error) {
    if (error instanceof StoreError && error.notCarriedOut) mayBeWritten = false;
    throw error;
  } finally {
    // A write without an answer may still be carried out, and releasing its leases could then delete what it wrote.
    // Unused, the presence lease ends by itself after its TTL and the other one after the retention.
    if (!mayBeWritten) {
      onSent?.(null);
      releaseLeases(kv, granted);
    }
  }
  throw new StoreError(
    `register ${registration.instanceId}: another session wrote its keys before each of ${MAX_ATTEMPTS} attempts`,
    {
      retryable: true,
    },
  );
}

/** @returns null when the keys changed before every attempt. Rejects when it is unknown whether the write happened. */
async function registerWith(
  kv: Kv,
  hold: Hold,
  record: NodeRecord,
  takeover: boolean,
  firstSeen: TxnResult,
  signal: AbortSignal,
): Promise<RegisterOutcome | null> {
  const { instanceId } = hold.registration;
  const keys = [presenceKey(instanceId), recordKey(instanceId)] as const;
  const puts = [
    { ...holds(hold), lease: hold.presenceLease },
    { key: keys[1], value: encodeRecord(record), lease: hold.retentionLease },
  ];
  let seen = firstSeen;
  // A lost race is retried without a pause: another session has made progress, so this loop cannot spin.
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const decision = decideRegistration(hold.registration, takeover, seen.reads[0] ?? null);
    if (decision.kind === 'superseded') return decision;
    seen = await kv.txn({ guards: decision.guards, puts, deletes: [], reads: keys }, signal);
    if (seen.succeeded) {
      // Ending the leases of the overwritten keys tells a superseded agent soonest: its next keep-alive finds no lease.
      // Otherwise it learns of it by its next write, or the next time it reads its keys.
      releaseLeases(
        kv,
        seen.reads.flatMap((kv) => (kv ? [kv.lease] : [])),
      );
      return { kind: 'registered', hold, revision: seen.revision };
    }
  }
  return null;
}

function settledValue<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}

/**
 * `Store.depart` over any key-value store. Unlike an update it needs no guard on the record's revision: it deletes the
 * presence, so the guard of every earlier write of this session that arrives later fails. The leases are left to run
 * out: the process is about to exit, and must not wait for cleaning up after a departure that happened.
 */
export async function depart(kv: Kv, hold: Hold, record: NodeRecord, signal: AbortSignal): Promise<WriteOutcome> {
  const { instanceId } = hold.registration;
  const json = encodeRecord(record);
  let guards: readonly Guard[] = [holds(hold)];
  // As in `registerWith`, a lost race needs no pause.
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const result = await writeDeparture(kv, hold, json, guards, signal);
    if (result.succeeded) return { kind: 'written', revision: result.revision };
    const [presence, stored] = [result.reads[0] ?? null, result.reads[1] ?? null];
    const decision = decideDeparture(hold, json, { presence, record: stored });
    if (decision.kind === 'lost' || decision.kind === 'superseded') {
      // The registration may still be on its way; without its lease the store refuses it.
      await kv.releaseEmpty(hold.presenceLease, signal);
    }
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
  const keys = [presenceKey(instanceId), recordKey(instanceId)] as const;
  const put = (lease: string) =>
    kv.txn({ guards, puts: [{ key: keys[1], value: json, lease }], deletes: [keys[0]], reads: keys }, signal);
  try {
    return await put(hold.retentionLease);
  } catch (error) {
    if (!(error instanceof LeaseNotFoundError)) throw error;
  }
  const { lease } = await kv.grant(retentionMs, signal);
  return put(lease);
}

/** What the store remembers of a hold, in memory only: without it an update or a watch needs one more call. */
interface HoldNotes {
  /** The record's revision when this hold last read or wrote it; `"0"`: unknown, or no record. */
  recordRevision: string;
  /** The registration's revision until a watch has begun there; null afterwards. */
  unwatchedSince: string | null;
}

/** The notes of each hold, for as long as the hold is referenced. */
export function createHoldNotes(): (hold: Hold) => HoldNotes {
  const notes = new WeakMap<Hold, HoldNotes>();
  return (hold) => {
    const known = notes.get(hold) ?? { recordRevision: '0', unwatchedSince: null };
    notes.set(hold, known);
    return known;
  };
}

/**
 * `Store.untilNotHeld` over any key-value store. The first watch goes on from the registration. One that follows on a
 * broken one reads the keys first: the store may have been replaced meanwhile, or have forgotten the changes in between.
 */
export async function untilNotHeld(kv: Kv, hold: Hold, notes: HoldNotes, signal: AbortSignal): Promise<NotHeld> {
  const { instanceId } = hold.registration;
  const keys = [presenceKey(instanceId), recordKey(instanceId)] as const;
  let since = notes.unwatchedSince;
  notes.unwatchedSince = null;
  if (since === null) {
    const seen = await kv.txn({ guards: [], puts: [], deletes: [], reads: keys }, signal);
    const [presence, record] = [seen.reads[0] ?? null, seen.reads[1] ?? null];
    if (presence?.lease !== hold.presenceLease) return whyNotHeld(hold, presence?.value ?? null);
    if (record === null) return { kind: 'lost' };
    since = seen.revision;
  }
  const own = holds(hold).value;
  for await (const { events } of kv.watchKeys(keys, since, signal)) {
    for (const { key, value } of events) {
      if (key === keys[0] ? value !== own : value === null) return whyNotHeld(hold, key === keys[0] ? value : null);
    }
  }
  throw new StoreError(`watch the keys of ${instanceId}: the watch ended`, { retryable: true });
}

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
  const keys = [presenceKey(instanceId), recordKey(instanceId)] as const;
  const put = { key: keys[1], value: encodeRecord(record), lease: hold.retentionLease };
  try {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      const guards = [holds(hold), { key: keys[1], modRevision: notes.recordRevision }];
      const result = await kv.txn({ guards, puts: [put], deletes: [], reads: keys }, signal);
      if (result.succeeded) {
        notes.recordRevision = result.revision;
        return { kind: 'written', revision: result.revision };
      }
      const [presence, stored] = [result.reads[0] ?? null, result.reads[1] ?? null];
      if (presence?.lease !== hold.presenceLease) return whyNotHeld(hold, presence?.value ?? null);
      notes.recordRevision = unchanged(keys[1], stored).modRevision;
      // An earlier attempt, whose answer was lost, wrote it: writing it again would be a revision without a change.
      if (stored?.value === put.value && stored.lease === put.lease)
        return { kind: 'written', revision: stored.modRevision };
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
