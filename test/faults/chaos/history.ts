import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { RollCloudEvent } from '../../../src/client/types.ts';
import type { NodeRecord, Presence } from '../../../src/record/record.ts';
import type { WatchBatch } from '../../../src/store/read-roll.ts';
import type { Store } from '../../../src/store/store.ts';
import { StoreError } from '../../../src/store/store-errors.ts';

const RETRY_MS = 50;

/** One node was otherwise after this revision than before it. */
export interface Happening {
  readonly revision: string;
  readonly instanceId: string;
  readonly after: 'present' | 'departed' | 'lost' | 'forgotten';
}

/** Everything that the store went through, as the store itself reports it to a watch that is never away for long. */
export interface History {
  readonly happenings: readonly Happening[];
  /** Every revision up to here was seen. */
  revision(): bigint;
  /** Revisions between the first and the last that were not seen; there are none unless the store lost some. */
  readonly holes: readonly string[];
  /** Resolves when it was ended by its signal; rejects when it could not go on. */
  readonly ended: Promise<void>;
}

/** @param store whose writers all write below the same prefix, so that each revision is one of theirs */
export function recordHistory(store: Store, signal: AbortSignal): History {
  const nodes = new Map<string, { record: NodeRecord | null; presence: Presence | null }>();
  const happenings: Happening[] = [];
  const holes: string[] = [];
  let last = 1n; // an empty etcd's

  function take({ revision, changes }: WatchBatch) {
    if (BigInt(revision) > last + 1n) holes.push(`${last}-${revision}`);
    last = BigInt(revision);
    const before = new Map<string, unknown>();
    for (const change of changes) {
      if (change.kind !== 'record' && change.kind !== 'presence') continue;
      const { instanceId } = change;
      const node = nodes.get(instanceId) ?? { record: null, presence: null };
      if (!before.has(instanceId)) before.set(instanceId, node.record && node);
      nodes.set(instanceId, { ...node, [change.kind]: change.kind === 'record' ? change.record : change.presence });
    }
    for (const [instanceId, was] of before) {
      const node = nodes.get(instanceId) ?? { record: null, presence: null };
      if (isDeepStrictEqual(was, node.record && node)) continue;
      const { record, presence } = node;
      const gone = record?.departure ? 'departed' : 'lost';
      const after = record === null ? 'forgotten' : presence ? 'present' : gone;
      happenings.push({ revision, instanceId, after });
    }
  }

  async function follow() {
    while (!signal.aborted) {
      try {
        for await (const batch of store.watch(String(last), signal)) take(batch);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof StoreError && error.retryable)) throw error;
        await sleep(RETRY_MS);
      }
    }
  }

  return { happenings, holes, revision: () => last, ended: follow() };
}

export interface Verdict {
  /** Told as an event of their own. */
  readonly told: number;
  /** Not told, and part of a snapshot that was. */
  readonly covered: number;
  readonly missing: readonly string[];
  /** Told although nothing of that kind happened. */
  readonly invented: readonly string[];
}

/**
 * @param guarded a loss may have been held: its event comes later, or not at all when the node was back before
 */
export function judge(happenings: readonly Happening[], events: readonly RollCloudEvent[], guarded: boolean): Verdict {
  const name = (revision: string, instanceId: string) => `${revision}/${instanceId}`;
  const happened = new Set(happenings.map(({ revision, instanceId }) => name(revision, instanceId)));
  const told = new Set<string>();
  const invented: string[] = [];
  let snapshotAt = 0n;
  const lostAt = new Map<string, bigint>();
  const lastOf = new Map<string, string>();
  for (const { instanceId, revision } of happenings) lastOf.set(instanceId, revision);
  const isLostAt = (instanceId: string, revision: bigint) =>
    happenings.findLast((each) => each.instanceId === instanceId && BigInt(each.revision) <= revision)?.after ===
    'lost';

  for (const event of events) {
    const revision = BigInt(event.revision);
    if (event.type === 'rollcall.roll.synced') snapshotAt = revision > snapshotAt ? revision : snapshotAt;
    if (event.subject === undefined || event.snapshot) continue;
    told.add(name(event.revision, event.subject));
    if (event.type === 'rollcall.instance.lost') lostAt.set(event.subject, revision);
    // A loss that a reader of the store learnt from a snapshot, because its history was compacted, and held back then,
    // has the revision of that snapshot.
    const knownLate = guarded && event.type === 'rollcall.instance.lost' && isLostAt(event.subject, revision);
    if (!knownLate && !happened.has(name(event.revision, event.subject))) invented.push(`${event.type} ${event.id}`);
  }

  const verdict = { told: 0, covered: 0, missing: [] as string[], invented };
  for (const { revision, instanceId, after } of happenings) {
    const toldLate = (lostAt.get(instanceId) ?? 0n) >= BigInt(revision) || lastOf.get(instanceId) !== revision;
    if (told.has(name(revision, instanceId))) verdict.told += 1;
    else if (BigInt(revision) <= snapshotAt) verdict.covered += 1;
    else if (guarded && after === 'lost' && toldLate) verdict.told += 1;
    else verdict.missing.push(`${revision}/${instanceId} ${after}`);
  }
  return verdict;
}
