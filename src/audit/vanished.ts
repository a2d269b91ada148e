import { isMassLoss, type MassLossLimits } from '../registry/mass-loss.ts';
import { arnOf, instanceIdOf, type Verdict, verdictKey } from './audit-report.ts';
import { type AuditMemory, recall, recallBeyond } from './history.ts';

/** How an audit judges many ghosts that are new at once. */
export interface VanishLimits {
  /** null: every ghost counts at once. */
  readonly massLoss: MassLossLimits | null;
  /** From one audit to the next, at most: a sighting from before says nothing. */
  readonly maxGapMs: number;
}

/**
 * Longer than the longest TTL that counts, 5 minutes, so that every agent can be back; and longer than most cuts between a
 * zone and the store.
 */
const VANISHED_MS = 15 * 60_000;
const WHY =
  'no ghost before audits find it so for 15m: many nodes vanished at once, so the store or the network may be what failed';

/**
 * Takes the ghosts of a mass loss back, as `vanished`: their hosts may run, cut off from the store. They are ghosts where a
 * later audit, 15 minutes after the first at least, finds them so still. One that the last audit reported as a ghost
 * remains one. A node that departed, and a former registration of a present node, are ghosts for certain. Pure.
 * @param verdicts of the last comparison @param nowMs wall clock
 */
export function withoutVanished(
  verdicts: readonly Verdict[],
  memory: AuditMemory,
  nowMs: number,
  { massLoss, maxGapMs }: VanishLimits,
): readonly Verdict[] {
  const compared = verdicts.filter(({ node, kind }) => node !== null && kind !== 'elsewhere');
  const present = new Set(compared.map(instanceIdOf));
  const vanished = verdicts.filter(
    (verdict) =>
      verdict.kind === 'ghost' &&
      !verdict.record?.departure &&
      !present.has(instanceIdOf(verdict)) &&
      recall(memory, verdictKey(verdict), nowMs, maxGapMs) === null,
  );
  const nodes = new Set(vanished.map((verdict) => instanceIdOf(verdict) ?? arnOf(verdict)));
  const isMass = isMassLoss(nodes.size, present.size, massLoss);
  const asVanished = new Map(
    vanished.map((verdict) => {
      const held: Verdict = { ...verdict, kind: 'vanished', reason: `${WHY}; ${verdict.reason}` };
      return [verdict, { held, seen: recall(memory, verdictKey(held), nowMs, maxGapMs) }];
    }),
  );
  const unseen = [...asVanished.values()].filter(({ seen }) => seen === null).length;
  const beyond = recallBeyond(memory, unseen, nowMs, maxGapMs);
  return verdicts.map((verdict) => {
    const found = asVanished.get(verdict);
    if (!found) return verdict;
    const { held } = found;
    const seen = found.seen ?? beyond;
    // A mass loss lasts until all are back: the rest may come later.
    if (seen === null) return isMass ? held : verdict;
    if (nowMs - Date.parse(seen.firstAt) < VANISHED_MS) return held;
    return { ...verdict, since: verdict.since ?? seen.firstAt };
  });
}
