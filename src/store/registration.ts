import { decodePresence, decodeRecord, encodePresence, encodeRecord } from '../record/codec.ts';
import type { NodeRecord, Presence } from '../record/record.ts';
import { LeaseNotFoundError, StoreError } from './errors.ts';
import { presenceKey, recordKey } from './keys.ts';
import { type Guard, type KeyValue, type Kv, releaseLeases, type TxnResult } from './kv.ts';
import type {
  Hold,
  RegisterOptions,
  RegisterOutcome,
  Registration,
  RenewOutcome,
  Superseded,
  WriteOutcome,
} from './store.ts';

/** The two keys of a seat as they were at one moment; null: not there. */
interface RegistrationKeys {
  readonly presence: KeyValue | null;
  readonly record: KeyValue | null;
}

type RegistrationDecision = { readonly kind: 'take'; readonly guards: readonly Guard[] } | Superseded;

/**
 * May `seat.session` take its seat? Its own presence is no obstacle: it stems from an attempt whose answer was lost,
 * or from a lease that the store still held. Nor is one that nobody can read: no agent knows it as its own.
 * Of two that take over the one that started later wins, whoever's write comes last: else an agent whose registration
 * got no answer would oust the newer one that took its seat meanwhile.
 */
export function decideRegistration(
  registration: Registration,
  takeover: boolean,
  seen: KeyValue | null,
): RegistrationDecision {
  const holder = presenceOf(seen);
  if (
    holder !== null &&
    holder.session !== registration.session &&
    !(takeover && !isLater(holder.since, registration.since))
  ) {
    return { kind: 'superseded', by: holder.session };
  }
  return { kind: 'take', guards: [unchanged(presenceKey(registration.instanceId), seen)] };
}

/** Why a write guarded by "the presence is on this hold's lease" did not happen. */
export function whyNotHeld(hold: Hold, presence: KeyValue | null): { readonly kind: 'lost' } | Superseded {
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
 * How an agent may still leave after the presence turned out not to be on its lease. The record it wrote is its own
 * until another session has written one; what is asked for may already be there from an attempt whose answer was lost.
 * @param json the record with its departure, encoded
 */
export function decideDeparture(hold: Hold, json: string, seen: RegistrationKeys): DepartureDecision {
  const { instanceId, session } = hold.registration;
  const holder = presenceOf(seen.presence)?.session ?? null;
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

function presenceOf(seen: KeyValue | null): Presence | null {
  if (seen === null) return null;
  const decoded = decodePresence(seen.value);
  return decoded.ok ? decoded.value : null;
}

/** Of two RFC 3339 instants; false where one of them is none. */
function isLater(a: string, b: string): boolean {
  return Date.parse(a) > Date.parse(b);
}

/** "This key is as it was seen." */
export function unchanged(key: string, seen: KeyValue | null): { readonly key: string; readonly modRevision: string } {
  return { key, modRevision: seen?.modRevision ?? '0' };
}

/** How often a seat may change hands between our look at it and our write before the caller is told to come again later. */
const MAX_ATTEMPTS = 3;

/** `Store.register` over any key-value store. */
export async function register(
  kv: Kv,
  registration: Registration,
  record: NodeRecord,
  { takeover, signal }: RegisterOptions,
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
    const outcome = await registerWith(kv, hold, record, takeover, firstSeen, signal);
    mayBeWritten = outcome?.kind === 'registered';
    if (outcome) return outcome;
  } catch (error) {
    if (error instanceof StoreError && error.notCarriedOut) mayBeWritten = false;
    throw error;
  } finally {
    // A write without an answer may still be carried out, and releasing its leases could then delete what it wrote.
    // Unused, the presence lease ends by itself after its TTL and the other one after the retention.
    if (!mayBeWritten) releaseLeases(kv, granted);
  }
  throw new StoreError(`register ${registration.instanceId}: the seat changed hands ${MAX_ATTEMPTS} times meanwhile`, {
    retryable: true,
  });
}

/** @returns null when the seat changed hands each time. Rejects where it is not known whether the write happened. */
async function registerWith(
  kv: Kv,
  hold: Hold,
  record: NodeRecord,
  takeover: boolean,
  firstSeen: TxnResult,
  signal: AbortSignal,
): Promise<RegisterOutcome | null> {
  const { instanceId, session, since } = hold.registration;
  const keys = [presenceKey(instanceId), recordKey(instanceId)] as const;
  const puts = [
    {
      key: keys[0],
      value: encodePresence({ session, since, ttlSeconds: hold.ttlMs / 1_000 }),
      lease: hold.presenceLease,
    },
    { key: keys[1], value: encodeRecord(record), lease: hold.retentionLease },
  ];
  let seen = firstSeen;
  // A lost race is tried again without a pause: it was lost because somebody else got on, so this cannot spin.
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const decision = decideRegistration(hold.registration, takeover, seen.reads[0] ?? null);
    if (decision.kind === 'superseded') return decision;
    seen = await kv.txn({ guards: decision.guards, puts, deletes: [], reads: keys }, signal);
    if (seen.succeeded) {
      // Ending the leases of what was overwritten is how a superseded agent learns of it soonest: its next keep-alive
      // finds none. Without that, its next write or its next look at its seat tells it.
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
 * `Store.depart` over any key-value store. It needs no guard on the record's revision as an update does: it ends the
 * presence, and with it the guard of every earlier write of this hold that may still be on its way. The leases are left
 * to run out: the process is about to exit, and a departure that happened must not wait for tidying.
 */
export async function depart(kv: Kv, hold: Hold, record: NodeRecord, signal: AbortSignal): Promise<WriteOutcome> {
  const { instanceId } = hold.registration;
  const json = encodeRecord(record);
  let guards: readonly Guard[] = [{ key: presenceKey(instanceId), lease: hold.presenceLease }];
  // As in registering, a lost race needs no pause: it was lost because somebody else got on.
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const result = await writeDeparture(kv, hold, json, guards, signal);
    if (result.succeeded) return { kind: 'written', revision: result.revision };
    const [presence, stored] = [result.reads[0] ?? null, result.reads[1] ?? null];
    const decision = decideDeparture(hold, json, { presence, record: stored });
    if (decision.kind !== 'write') return decision;
    guards = decision.guards;
  }
  throw new StoreError(`depart ${instanceId}: the seat changed ${MAX_ATTEMPTS} times meanwhile`, { retryable: true });
}

/** Puts the record on the hold's retention lease, or, where that is gone, on a new one: the departure is to be readable. */
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

/** What a store remembers of a hold beside what its owner carries. Lost with the process, at the price of one more read. */
export interface HoldNotes {
  /** Of the record as this hold last saw or wrote it; `"0"`: not known, or there is none. */
  recordRevision: string;
  /** Beats that found the lease. */
  renewals: number;
}

/** Notes by hold, for as long as anybody has the hold. */
export function createHoldNotes(): (hold: Hold) => HoldNotes {
  const notes = new WeakMap<Hold, HoldNotes>();
  return (hold) => {
    const known = notes.get(hold) ?? { recordRevision: '0', renewals: 0 };
    notes.set(hold, known);
    return known;
  };
}

/** A beat proves the lease and not the keys, so every so many beats look at these, too: once in a TTL. */
const READ_EVERY_RENEWALS = 3;

/** `Store.renew` over any key-value store. */
export async function renewPresence(kv: Kv, hold: Hold, notes: HoldNotes, signal: AbortSignal): Promise<RenewOutcome> {
  const look = (notes.renewals + 1) % READ_EVERY_RENEWALS === 0;
  // A look that fails says nothing about the beat, and nothing about the keys.
  const looking = look ? readRegistration(kv, hold, signal).catch(() => RENEWED) : RENEWED;
  const keeping = kv.keepAlive(hold.presenceLease, signal).then((alive) => {
    // Counted at once: a look that takes too long for its caller must not be made again with every further beat.
    if (alive) notes.renewals += 1;
    return alive;
  });
  const [alive, seen] = await Promise.all([keeping, looking]);
  if (!alive) return { kind: 'lost' };
  return seen;
}

const RENEWED: RenewOutcome = { kind: 'renewed' };

/** Lost where somebody deleted a key of the seat: only registering makes them anew. Reads alone write no revision. */
async function readRegistration(kv: Kv, hold: Hold, signal: AbortSignal): Promise<RenewOutcome> {
  const { instanceId } = hold.registration;
  const reads = [presenceKey(instanceId), recordKey(instanceId)];
  const seen = await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
  const [presence, record] = [seen.reads[0] ?? null, seen.reads[1] ?? null];
  if (presence?.lease !== hold.presenceLease) return whyNotHeld(hold, presence);
  return record === null ? { kind: 'lost' } : RENEWED;
}

/**
 * `Store.update` over any key-value store. The guard on the record's revision is against this hold's own past: a write
 * whose answer was lost may still be on its way, and must not be carried out after a newer one. Of two such writes
 * only one can meet the revision that both expect; the newer one is here to look again, the older one is not.
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
  const held = { key: keys[0], lease: hold.presenceLease };
  const put = { key: keys[1], value: encodeRecord(record), lease: hold.retentionLease };
  try {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      const guards = [held, { key: keys[1], modRevision: notes.recordRevision }];
      const result = await kv.txn({ guards, puts: [put], deletes: [], reads: keys }, signal);
      if (result.succeeded) {
        notes.recordRevision = result.revision;
        return { kind: 'written', revision: result.revision };
      }
      const [presence, stored] = [result.reads[0] ?? null, result.reads[1] ?? null];
      if (presence?.lease !== hold.presenceLease) return whyNotHeld(hold, presence);
      notes.recordRevision = unchanged(keys[1], stored).modRevision;
      // Written by an attempt whose answer was lost: once more would be a change with nothing changed.
      if (stored?.value === put.value && stored.lease === put.lease)
        return { kind: 'written', revision: stored.modRevision };
    }
  } catch (error) {
    // The retention lease ran out under a living presence: registering makes both anew.
    if (error instanceof LeaseNotFoundError) return { kind: 'lost' };
    throw error;
  }
  throw new StoreError(`update ${instanceId}: its record changed ${MAX_ATTEMPTS} times meanwhile`, { retryable: true });
}
