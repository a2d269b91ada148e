import { DIFFERENCES, documentKey, leaderLockKey } from './keys.ts';
import { type Guard, type KeyValue, type Kv, type RangePage, releaseLeases } from './kv.ts';
import { LeaseNotFoundError, StoreError } from './store-errors.ts';

/**
 * Leader election: one agent of the fleet does the work that a lock names. The lock is a key on a lease: it is free when
 * its holder resigns, or does not renew the lease for its TTL. Publications are fenced: the store accepts one only while
 * the key is still the one that this term created, so a holder that was paused or cut off publishes nothing late.
 *
 * Methods reject as those of `Store` do. The calls of one term must be made one after another.
 */
export interface LeaderLocks {
  /** The lock's holder and the published documents, at one revision. Writes nothing. */
  read(lock: string, documents: readonly string[], signal: AbortSignal): Promise<LeaderLockState>;

  /** The published documents whose names start with `start`: the rest of the name → text. Writes nothing. */
  list(lock: string, start: string, signal: AbortSignal): Promise<ReadonlyMap<string, string>>;

  /**
   * Takes the lock if it is free. If this session holds it already, as after an answer that was lost, its term goes on.
   * Only taking a free lock writes.
   */
  campaign(lock: string, candidate: Candidate, signal: AbortSignal): Promise<CampaignOutcome>;

  /** Renews the lease; `lost`: the lock is no longer this term's. Writes no revision. */
  renew(term: Term, signal: AbortSignal): Promise<'renewed' | 'lost'>;

  /**
   * Writes all of these documents at one revision, or none. Of two publications of one term with the same `main` the later
   * one wins, even if the earlier one was rejected and the store carries it out late. Calls with another `main` may be made
   * at the same time.
   * @param documents name → text; null: it is removed. At most 120 with the differences
   */
  publish(term: Term, documents: Documents, signal: AbortSignal, more?: PublishOptions): Promise<PublishOutcome>;

  /** The differences that are kept: key → text. Writes nothing. */
  differences(signal: AbortSignal): Promise<ReadonlyMap<string, string>>;

  /** Frees the lock, unless another session holds it. */
  resign(term: Term, signal: AbortSignal): Promise<void>;
}

interface Candidate {
  readonly session: string;
  readonly instanceId: string | null;
  /** Whole seconds. The store may grant more; `Term.ttlMs` is what it granted. */
  readonly ttlMs: number;
}

export interface Holder {
  readonly session: string;
  /** null: the holder did not know it. */
  readonly instanceId: string | null;
}

export interface LeaderLockState {
  readonly revision: string;
  /** null: the lock is free. */
  readonly holder: Holder | null;
  /** In the order of the names asked for; null: no such document. */
  readonly documents: readonly (string | null)[];
}

/** One holder's time with a lock, from election to its end. */
export interface Term {
  readonly lock: string;
  readonly session: string;
  readonly ttlMs: number;
  /**
   * Of the key that this term created, and its value: the fence. The revision alone is none: a restored store counts its
   * revisions anew, and another term may get the same one.
   */
  readonly revision: string;
  readonly value: string;
  /** The store's identifier: opaque to everything else. */
  readonly lease: string;
}

export type Documents = Readonly<Record<string, string | null>>;

interface PublishOptions {
  /** The name of one of the documents, whose text is another one in each publication; default `summary`. */
  readonly main?: string;
  /** Written with the documents: keys of `differenceKey` → text; null: it is removed. */
  readonly differences?: Readonly<Record<string, string | null>>;
}

export type CampaignOutcome =
  | { readonly kind: 'elected'; readonly term: Term }
  | { readonly kind: 'taken'; readonly by: Holder };

/** `lost`: the store wrote nothing, because the lock is no longer this term's. */
export type PublishOutcome =
  | { readonly kind: 'published'; readonly revision: string }
  | { readonly kind: 'lost'; readonly by: Holder | null };

const MAX_ATTEMPTS = 3;
const UNKNOWN: Holder = { session: 'unknown', instanceId: null };

/** `LeaderLocks` over any key-value store. */
export function createLeaderLocks(kv: Kv): LeaderLocks {
  // The revision of each term's last main documents, if known. Of two writes that expect the same one only one succeeds.
  const mainRevisions = new WeakMap<Term, Map<string, string>>();
  const read = (keys: readonly string[], signal: AbortSignal) =>
    kv.txn({ guards: [], puts: [], deletes: [], reads: keys }, signal);

  return {
    read: async (lock, documents, signal) => {
      const keys = [leaderLockKey(lock), ...documents.map((name) => documentKey(lock, name))];
      const { revision, reads } = await read(keys, signal);
      return { revision, holder: holderOf(reads[0]), documents: reads.slice(1).map((kv) => kv?.value ?? null) };
    },

    campaign: (lock, candidate, signal) => campaign(kv, lock, candidate, signal),

    renew: async (term, signal) => {
      const [alive, seen] = await Promise.all([
        kv.keepAlive(term.lease, signal),
        read([leaderLockKey(term.lock)], signal),
      ]);
      return alive && isOf(term, seen.reads[0]) ? 'renewed' : 'lost';
    },

    list(lock, start, signal) {
      const prefix = documentKey(lock, start);
      return rangeOf(kv, prefix, prefix, signal);
    },

    differences: (signal) => rangeOf(kv, DIFFERENCES, '', signal),

    publish: async (term, documents, signal, { main = 'summary', differences = {} } = {}) => {
      const [lock, mainKey] = [leaderLockKey(term.lock), documentKey(term.lock, main)];
      const revisions = mainRevisions.get(term) ?? new Map<string, string>();
      mainRevisions.set(term, revisions);
      const entries = Object.entries(documents).map(([name, value]) => ({ key: documentKey(term.lock, name), value }));
      entries.push(...Object.entries(differences).map(([key, value]) => ({ key, value })));
      const puts = entries.flatMap(({ key, value }) => (value === null ? [] : [{ key, value, lease: '0' }]));
      const deletes = entries.filter(({ value }) => value === null).map(({ key }) => key);
      for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
        const guards = [...fence(term), { key: mainKey, modRevision: revisions.get(main) ?? '0' }];
        const { succeeded, revision, reads } = await kv.txn({ guards, puts, deletes, reads: [lock, mainKey] }, signal);
        if (succeeded) {
          revisions.set(main, revision);
          return { kind: 'published', revision };
        }
        const [held, stored] = [reads[0] ?? null, reads[1] ?? null];
        if (!isOf(term, held)) return { kind: 'lost', by: holderOf(held) };
        revisions.set(main, stored?.modRevision ?? '0');
        // An earlier attempt, whose answer was lost, wrote it.
        if (stored !== null && stored.value === documents[main])
          return { kind: 'published', revision: stored.modRevision };
      }
      throw new StoreError(`publish for ${term.lock}: ${main} changed before each of ${MAX_ATTEMPTS} attempts`, {
        retryable: true,
      });
    },

    resign: async (term, signal) => {
      await kv.txn({ guards: fence(term), puts: [], deletes: [leaderLockKey(term.lock)], reads: [] }, signal);
      releaseLeases(kv, [term.lease]);
    },
  };
}

function fence({ lock, revision, value }: Term): readonly Guard[] {
  const key = leaderLockKey(lock);
  return [
    { key, modRevision: revision },
    { key, value },
  ];
}

function isOf({ revision, value }: Term, held: KeyValue | null | undefined): boolean {
  return held?.modRevision === revision && held.value === value;
}

/** All keys with the prefix, without `cut` in front of them. */
async function rangeOf(kv: Kv, prefix: string, cut: string, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (let from: string | null = prefix; from !== null; ) {
    const page: RangePage = await kv.range({ prefix, from }, signal);
    for (const { key, value } of page.kvs) found.set(key.slice(cut.length), value);
    from = page.next;
  }
  return found;
}

async function campaign(kv: Kv, lock: string, candidate: Candidate, signal: AbortSignal): Promise<CampaignOutcome> {
  const key = leaderLockKey(lock);
  const { session, instanceId, ttlMs } = candidate;
  const reads = [key];
  const seen = (await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal)).reads[0];
  if (seen) return campaignOutcome(seen, lock, candidate);
  const granted = await kv.grant(ttlMs, signal);
  let mayBeWritten = true;
  try {
    const value = JSON.stringify({ session, instanceId });
    const puts = [{ key, value, lease: granted.lease }];
    const result = await kv.txn({ guards: [{ key, modRevision: '0' }], puts, deletes: [], reads }, signal);
    if (result.succeeded) {
      const { revision } = result;
      return { kind: 'elected', term: { lock, session, ttlMs: granted.ttlMs, revision, value, lease: granted.lease } };
    }
    mayBeWritten = false;
    const winner = result.reads[0];
    if (!winner) throw new StoreError(`campaign for ${lock}: its key was neither free nor held`, { retryable: true });
    return campaignOutcome(winner, lock, candidate);
  } catch (error) {
    if (error instanceof LeaseNotFoundError || (error instanceof StoreError && error.notCarriedOut))
      mayBeWritten = false;
    throw error;
  } finally {
    // A write without an answer may still be carried out: its lease then ends by itself, or the next campaign finds it.
    if (!mayBeWritten) releaseLeases(kv, [granted.lease]);
  }
}

/** This session may hold the lock already, after an answer that was lost: its term goes on, with the TTL it asked for. */
function campaignOutcome(seen: KeyValue, lock: string, { session, ttlMs }: Candidate): CampaignOutcome {
  const by = holderOf(seen) ?? UNKNOWN;
  if (by.session !== session) return { kind: 'taken', by };
  const { modRevision: revision, value, lease } = seen;
  return { kind: 'elected', term: { lock, session, ttlMs, revision, value, lease } };
}

/** A value that is not from rollcall counts as a holder, too. */
function holderOf(kv: KeyValue | null | undefined): Holder | null {
  if (!kv) return null;
  try {
    const { session, instanceId } = JSON.parse(kv.value) as Partial<Holder>;
    if (typeof session !== 'string') return UNKNOWN;
    return { session, instanceId: typeof instanceId === 'string' ? instanceId : null };
  } catch {
    return UNKNOWN;
  }
}
