import { decodePresence, decodeRecord } from '../record/codec.ts';
import type { Presence } from '../record/record.ts';
import { presenceKey, recordKey } from './keys.ts';
import type { Guard, KeyValue } from './kv.ts';
import type { Hold, Seat, Superseded } from './store.ts';

/** The two keys of a seat as they were at one moment; null: not there. */
interface SeatState {
  readonly presence: KeyValue | null;
  readonly record: KeyValue | null;
}

type SeatDecision = { readonly kind: 'take'; readonly guards: readonly Guard[] } | Superseded;

/**
 * May `seat.session` take its seat? Its own presence is no obstacle: it stems from an attempt whose answer was lost,
 * or from a lease that the store still held. Nor is one that nobody can read: no agent knows it as its own.
 * Of two that take over the one that started later wins, whoever's write comes last: else an agent whose registration
 * got no answer would oust the newer one that took its seat meanwhile.
 */
export function decideSeat(seat: Seat, takeover: boolean, seen: KeyValue | null): SeatDecision {
  const holder = presenceOf(seen);
  if (holder !== null && holder.session !== seat.session && !(takeover && !isLater(holder.since, seat.since))) {
    return { kind: 'superseded', by: holder.session };
  }
  return { kind: 'take', guards: [unchanged(presenceKey(seat.instanceId), seen)] };
}

/** Why a write guarded by "the presence is on this hold's lease" did not happen. */
export function whyNotHeld(hold: Hold, presence: KeyValue | null): { readonly kind: 'lost' } | Superseded {
  const holder = presenceOf(presence)?.session ?? null;
  return holder === null || holder === hold.seat.session ? { kind: 'lost' } : { kind: 'superseded', by: holder };
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
export function decideDeparture(hold: Hold, json: string, seen: SeatState): DepartureDecision {
  const { instanceId, session } = hold.seat;
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
