import { isDeepStrictEqual as same } from 'node:util';
import { entryChanges } from './entry-change.ts';
import type { InstanceEvent, InstanceEventKind } from './event.ts';
import { presenceState, type Roll, type RollEntry } from './roll.ts';

/** What a node is told as that was not on the roll before. */
const FIRST_KIND = { present: 'registered', departed: 'departed', lost: 'lost' } as const;

/**
 * What happened to one node between two states of its entry (null: not on the roll): nothing when they are equal by
 * value, most often one event, and up to three when a living node changed in several ways at once. All of them carry the
 * same `before` and `after`, so that applying any one of them gives the new state.
 * @param snapshot the events are part of a snapshot
 */
export function diffEntry(
  instanceId: string,
  before: RollEntry | null,
  after: RollEntry | null,
  revision: string,
  snapshot = false,
): InstanceEvent[] {
  return kindsOf(before, after).map((kind) => ({ kind, revision, instanceId, before, after, snapshot }));
}

/** The events that turn `before` into `after`, in the order of ids, all at the revision of `after`. */
export function diffRolls(before: Roll, after: Roll): readonly InstanceEvent[] {
  return entryChanges(before, after).flatMap((change) =>
    diffEntry(change.instanceId, change.before, change.after, after.revision),
  );
}

function kindsOf(before: RollEntry | null, after: RollEntry | null): readonly InstanceEventKind[] {
  if (before === after) return [];
  if (after === null) return ['forgotten'];
  const state = presenceState(after);
  if (before === null) return [FIRST_KIND[state]];
  const was = presenceState(before);
  if (state === 'present') {
    // Whatever its session: who was called lost is told to be back.
    if (was === 'lost') return ['recovered'];
    if (was === 'departed' || before.presence?.session !== after.presence?.session) return ['registered'];
  } else if (state === 'lost') {
    if (was !== 'lost') return ['lost'];
  } else if (was !== 'departed' || !same(before.record.departure, after.record.departure)) {
    return ['departed'];
  }
  return changesOf(before, after);
}

/** What changed in a node that is as present, lost or departed as before. */
function changesOf(before: RollEntry, after: RollEntry): readonly InstanceEventKind[] {
  const kinds: InstanceEventKind[] = [];
  if (!same(rest(before), rest(after))) kinds.push('updated');
  if (!same(before.record.health, after.record.health)) kinds.push('health');
  if (!same(before.record.interruption, after.record.interruption)) kinds.push('interruption');
  return kinds;
}

/** All that has no kind of event of its own. */
function rest({ record, presence }: RollEntry): object {
  return { ...record, health: null, interruption: null, presence };
}
