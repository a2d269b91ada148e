import { printable } from '../lib/foreign-text.ts';
import { refusedFields } from './codec.ts';
import { describeUnmatched, type RollFilter } from './filter.ts';
import { describeSkew } from './node-clock.ts';
import type { RollEntry, SkippedKey } from './roll.ts';
import type { NodeSummary } from './summary.ts';

/**
 * What a reader must know of records beside what they say: a line for each, for people, on stderr or in the `notes` of an
 * answer. Any number of records may have the same flaw, so each kind has a few lines and the number of the others.
 */

/** More would push the result off the screen. */
const MAX_LINES = 5;
const MAX_LINE = 500;

/** Keys that cannot be read. */
export function describeSkipped(skipped: readonly SkippedKey[]): readonly string[] {
  return few(
    skipped.map(({ key, reason }) => `skipped ${key}: ${reason}`),
    (more) => `skipped ${more} more unreadable keys`,
  );
}

/** Fields that hold something else than they should. */
export function describeRefused(entries: readonly RollEntry<NodeSummary>[]): readonly string[] {
  const flawed = entries.filter(({ record }) => refusedFields(record).length > 0);
  return few(
    flawed.map(
      ({ record }) => `the record of ${record.ec2InstanceId} has an invalid ${refusedFields(record).join(', ')}`,
    ),
    (more) => `${more} ${MORE_REFUSED}`,
  );
}

const MORE_REFUSED = 'more records have invalid fields';

/** Of the notes of a whole roll those that hold for `shown`: that there are more holds for any that no note names. */
export function notesOf(notes: readonly string[], shown: readonly RollEntry<NodeSummary>[]): readonly string[] {
  const names = (note: string, { record }: RollEntry<NodeSummary>) => note.includes(record.ec2InstanceId);
  const isUnnamed = shown.some((entry) => !notes.some((note) => names(note, entry)));
  return notes.filter(
    (note) => shown.some((entry) => names(note, entry)) || (isUnnamed && note.endsWith(MORE_REFUSED)),
  );
}

/** What a list of the roll says beside its nodes; the keys that cannot be read have a list of their own. */
export function listNotes(entries: readonly RollEntry[], filter: RollFilter): readonly string[] {
  return [...describeUnmatched(entries, filter), ...describeRefused(entries)];
}

/** Clocks that are off, since the instants of a record are by its node's. */
export function describeClocks(entries: readonly RollEntry<NodeSummary>[]): readonly string[] {
  const skews = entries.flatMap(({ record }) => describeSkew(record) ?? []);
  return few(
    skews.map((skew) => `${skew}; the times in its record are by it`),
    (more) => `the clocks of ${more} more nodes are off`,
  );
}

function few(lines: readonly string[], describeMore: (more: number) => string): readonly string[] {
  const shown = lines.slice(0, MAX_LINES).map((line) => printable(line).slice(0, MAX_LINE));
  return lines.length > MAX_LINES ? [...shown, describeMore(lines.length - MAX_LINES)] : shown;
}
