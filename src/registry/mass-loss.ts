import { presenceState, type RollEntry } from '../record/roll.ts';
import type { NodeSummary } from '../record/summary.ts';

/** Losing more than this share of the nodes, and at least this many, is a mass loss. */
export interface MassLossLimits {
  /** From 0 to 1. */
  readonly share: number;
  /** At least 1. */
  readonly count: number;
}

export const DEFAULT_MASS_LOSS: MassLossLimits = { share: 0.3, count: 5 };

/** Larger than any rounding of the division, smaller than what one node more makes of a fleet of a million. */
const ROUNDING = 1e-12;

/**
 * Whether so many nodes vanished that the store or the network may be what failed, and not the nodes: at least
 * `limits.count`, and more than `limits.share` of those that were there. Exactly the share is not more than the share.
 * @param vanished nodes that were present and are lost, or are about to be; departed ones are not among them
 * @param present nodes that are present and are not counted as vanished
 * @param limits null: never
 */
export function isMassLoss(vanished: number, present: number, limits: MassLossLimits | null): boolean {
  if (limits === null || vanished < limits.count) return false;
  return vanished / (present + vanished) > limits.share + ROUNDING;
}

const USUAL_TTL_SECONDS = 30;
/** A node's own record states its TTL. A wrong one must not decide that anything waits for longer than this. */
export const MAX_WAIT_SECONDS = 300;

/** A line for people if so many nodes are lost that the store or the network may have failed; else null. */
export function massLossNote(
  entries: readonly RollEntry<NodeSummary>[],
  limits: MassLossLimits | null,
  all: boolean,
): string | null {
  let [lost, present] = [0, 0];
  entries.forEach((entry) => {
    if (entry.presence !== null) present += 1;
    else if (presenceState(entry) === 'lost') lost += 1;
  });
  if (limits === null || !isMassLoss(lost, present, limits)) return null;
  const nodes = lost + present;
  return (
    `${lost} of ${nodes} nodes are lost (${percents(lost / nodes, limits)}): if this is` +
    ` new, the store or the network may have failed, and running agents are back within ${returnSeconds(entries)}s` +
    `${all ? '' : '; --all shows the lost nodes'}`
  );
}

/**
 * A line for people if so many of the nodes that a file names are not on the roll at all, neither departed nor lost, that the store may
 * have lost its data; else null. @param named instance ids
 */
export function lostDataNote(
  named: readonly string[],
  entries: readonly RollEntry<NodeSummary>[],
  limits: MassLossLimits | null,
): string | null {
  const known = new Set(entries.map(({ record }) => record.ec2InstanceId));
  const gone = named.filter((id) => !known.has(id)).length;
  if (limits === null || !isMassLoss(gone, named.length - gone, limits)) return null;
  return (
    `${gone} of the ${named.length} nodes that it names have no record any more` +
    ` (${percents(gone / named.length, limits)}): the store may have lost its data, and running agents are back within` +
    ` ${returnSeconds(entries)}s`
  );
}

/** How soon after the store is back running agents are: within their TTL. */
export function returnSeconds(entries: readonly RollEntry<NodeSummary>[]): number {
  const longest = entries.reduce((most, { presence }) => Math.max(most, presence?.ttlSeconds ?? 0), 0);
  return Math.min(longest || USUAL_TTL_SECONDS, MAX_WAIT_SECONDS);
}

function percents(share: number, limits: MassLossLimits): string {
  return `${percent(share)}, more than ${percent(limits.share)}`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}
