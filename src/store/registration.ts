import { decodePresence, encodePresence, encodeRecord } from '../record/codec.ts';
import type { NodeRecord, Presence } from '../record/record.ts';
import { keysOf, presenceKey } from './keys.ts';
import { type Granted, type Guard, type KeyValue, type Kv, releaseLeases } from './kv.ts';
import type { Hold, RegisterOptions, RegisterOutcome, Registration, Superseded } from './store.ts';
import { LeaseNotFoundError, StoreError } from './store-errors.ts';

type RegistrationDecision = { readonly kind: 'write'; readonly guards: readonly Guard[] } | Superseded;

/**
 * Whether `registration.session` may register, given the presence that was read. Its own presence does not prevent it: it
 * is from an attempt whose answer was lost, or from a lease that the store still has. Nor does an unreadable presence: no
 * agent recognises it as its own. Of two sessions the one that started later wins, in whatever order they write: an agent
 * whose registration got no answer must not replace a newer one, and the presence of a dead one, which a restored backup
 * has brought back, must not end its successor. Where neither is certainly later, only one that takes over replaces.
 */
export function decideRegistration(
  registration: Registration,
  takeover: boolean,
  seen: KeyValue | null,
): RegistrationDecision {
  const holder = presenceOf(seen?.value ?? null);
  if (holder !== null && holder.session !== registration.session) {
    const wins = takeover ? !startedLater(holder, registration) : startedLater(registration, holder);
    if (!wins) return { kind: 'superseded', by: holder.session };
  }
  return { kind: 'write', guards: [unchanged(presenceKey(registration.instanceId), seen)] };
}

/** What a presence says; null: there is none, or it cannot be read. */
export function presenceOf(text: string | null): Presence | null {
  if (text === null) return null;
  const decoded = decodePresence(text);
  return decoded.ok ? decoded.value : null;
}

/** Whether session `a` certainly started after `b`; false if one of the two instants (RFC 3339) cannot be parsed. */
export function startedLater(a: { readonly since: string }, b: { readonly since: string }): boolean {
  return Date.parse(a.since) > Date.parse(b.since);
}

/**
 * A guard: the presence is this session's. Its text names the session, and no other session writes the same. Not by its lease,
 * which etcd compares from 3.3 on only.
 */
export function holds({ registration, ttlMs }: Hold): { readonly key: string; readonly value: string } {
  const { instanceId, session, since } = registration;
  return { key: presenceKey(instanceId), value: encodePresence({ session, since, ttlSeconds: ttlMs / 1_000 }) };
}

/** A guard: the key has not changed since it was read. */
export function unchanged(key: string, seen: KeyValue | null): { readonly key: string; readonly modRevision: string } {
  return { key, modRevision: seen?.modRevision ?? '0' };
}

/** How many writes may fail because the keys changed after they were read, before the caller gets a retryable error. */
export const MAX_ATTEMPTS = 3;

/** A registration that got no answer: some of it may have happened. */
interface Attempt {
  readonly presenceLease: string;
  readonly isRepeat: boolean;
}

/**
 * `Store.register` over any key-value store, in as few writes as there can be: the presence lease and one transaction, and
 * the retention lease where the node has none. Both leases have ids of our own choice, so that what happened before an
 * answer was lost is found again and not done again.
 * @param secret with it no other client of the store can compute a presence lease, and grant it for a moment only
 */
export function createRegister(kv: Kv, secret: string) {
  // One for each session whose registration got no answer; an agent has one session.
  const unanswered = new Map<string, Attempt>();
  let serial = 0;

  return async (registration: Registration, record: NodeRecord, options: RegisterOptions): Promise<RegisterOutcome> => {
    const { instanceId, session } = registration;
    const name = `${instanceId} ${session}`;
    // A new id after each loss: what a store still has to end of the old lease cannot end the new one.
    serial += 1;
    const attempt = unanswered.get(name) ?? {
      presenceLease: kv.leaseOf(`presence ${name} ${serial} ${secret}`),
      isRepeat: false,
    };
    unanswered.set(name, { ...attempt, isRepeat: true });
    try {
      const outcome = await registerOnce(kv, attempt, registration, record, options);
      unanswered.delete(name);
      return outcome;
    } catch (error) {
      // Refused because a lease is gone, and so is what was sent before: the next registration is a new one.
      const isOver = error instanceof LeaseNotFoundError;
      if (isOver) unanswered.delete(name);
      const isUnsent = !attempt.isRepeat && error instanceof StoreError && error.notCarriedOut;
      if (isOver || isUnsent) options.onSent?.(null);
      throw error;
    }
  };
}

async function registerOnce(
  kv: Kv,
  attempt: Attempt,
  registration: Registration,
  record: NodeRecord,
  { takeover, signal, onSent }: RegisterOptions,
): Promise<RegisterOutcome> {
  const { presenceLease, isRepeat } = attempt;
  const { instanceId, ttlMs, retentionMs } = registration;
  const keys = keysOf(instanceId);
  const [presence, retentionLease, before] = await allOf([
    presenceLeaseFor(kv, attempt, ttlMs, signal),
    // Of the node and not of the session, so that an agent that starts again goes on with it.
    keepRetention(kv, `retention ${instanceId} ${retentionMs}`, retentionMs, signal),
    isRepeat ? kv.txn({ guards: [], puts: [], deletes: [], reads: keys }, signal) : null,
  ]);
  const hold: Hold = { registration, ttlMs: presence.ttlMs, presenceLease, retentionLease, mayComeLate: isRepeat };
  const puts = [
    { ...holds(hold), lease: presenceLease },
    { key: keys[1], value: encodeRecord(record), lease: retentionLease },
  ] as const;
  // Most nodes that register have no presence. Where that is wrong the first transaction answers what there is.
  let seen: readonly (KeyValue | null)[] = before?.reads ?? [null, null];
  // A lost race is retried without a pause: another session has made progress, so this loop cannot spin.
  for (let write = 1; write <= MAX_ATTEMPTS; write += 1) {
    const [seenPresence = null, seenRecord = null] = seen;
    if (isSame(seenPresence, puts[0]) && isSame(seenRecord, puts[1])) {
      return { kind: 'registered', hold, revision: laterOf(seenPresence.modRevision, seenRecord.modRevision) };
    }
    const decision = decideRegistration(registration, takeover, seenPresence);
    if (decision.kind === 'superseded') {
      // Nothing of this session can be written any more: the presence is another's, and not as the guards want it.
      onSent?.(null);
      releaseLeases(kv, [presenceLease]);
      return decision;
    }
    onSent?.({ ...hold, mayComeLate: true });
    const result = await kv.txn({ guards: decision.guards, puts, deletes: [], reads: keys }, signal);
    if (result.succeeded) {
      // Ending the leases of the overwritten keys tells an agent that does not watch its keys soonest that it is superseded:
      // its next keep-alive finds no lease.
      const replaced = result.reads.flatMap((kv) => (kv ? [kv.lease] : []));
      releaseLeases(
        kv,
        replaced.filter((lease) => lease !== presenceLease && lease !== retentionLease),
      );
      return { kind: 'registered', hold, revision: result.revision };
    }
    seen = result.reads;
  }
  throw new StoreError(
    `register ${instanceId}: another session wrote its keys before each of ${MAX_ATTEMPTS} attempts`,
    { retryable: true },
  );
}

async function presenceLeaseFor(
  kv: Kv,
  { presenceLease, isRepeat }: Attempt,
  ttlMs: number,
  signal: AbortSignal,
): Promise<Granted> {
  const renewedMs = isRepeat ? await kv.renew(presenceLease, signal) : null;
  if (renewedMs === null) return kv.grant(ttlMs, signal, presenceLease);
  return { lease: presenceLease, ttlMs: renewedMs };
}

/**
 * The retention lease: the named one, renewed where it is there, which is no write; most nodes that register have been here
 * before. Its id can be computed by another client of the store, which may have granted it for a moment only: the record
 * would end with it. Such a lease is left alone, for one with an id that nothing foretells.
 */
async function keepRetention(kv: Kv, name: string, ttlMs: number, signal: AbortSignal): Promise<string> {
  const named = kv.leaseOf(name);
  const renewedMs = (await kv.renew(named, signal)) ?? (await kv.grant(ttlMs, signal, named)).ttlMs;
  return renewedMs >= ttlMs ? named : (await kv.grant(ttlMs, signal)).lease;
}

function isSame(seen: KeyValue | null, put: { readonly value: string; readonly lease: string }): seen is KeyValue {
  return seen !== null && seen.value === put.value && seen.lease === put.lease;
}

function laterOf(a: string, b: string): string {
  return BigInt(a) > BigInt(b) ? a : b;
}

/** As `Promise.all`, but rejects only when all have ended: no call is left under way that its caller does not know of. */
async function allOf<T extends readonly unknown[]>(works: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const results = await Promise.allSettled(works);
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  }) as { -readonly [K in keyof T]: Awaited<T[K]> };
}
