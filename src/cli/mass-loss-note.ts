import { presenceState, type RollEntry } from '../record/roll.ts';
import type { NodeSummary } from '../record/summary.ts';
import { isMassLoss, type MassLossLimits } from '../registry/mass-loss.ts';

const USUAL_TTL_SECONDS = 30;

/** A note if so many nodes are lost that the store or the network may have failed; else null. */
export function massLossNote(
  entries: readonly RollEntry<NodeSummary>[],
  limits: MassLossLimits | null,
  all: boolean,
): string | null {
  let [lost, present] = [0, 0];
  for (const entry of entries) {
    if (entry.presence !== null) present += 1;
    else if (presenceState(entry) === 'lost') lost += 1;
  }
  if (limits === null || !isMassLoss(lost, present, limits)) return null;
  const nodes = lost + present;
  return (
    `note: ${lost} of ${nodes} nodes are lost (${percents(lost / nodes, limits)}): if this is` +
    ` new, the store or the network may have failed, and running agents are back within ${returnSeconds(entries)}s` +
    `${all ? '' : '; --all shows the lost nodes'}`
  );
}

/**
 * A note if so many of the nodes that a file names are not on the roll at all, neither departed nor lost, that the store may
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
    `note: ${gone} of the ${named.length} nodes that it names have no record any more` +
    ` (${percents(gone / named.length, limits)}): the store may have lost its data, and running agents are back within` +
    ` ${returnSeconds(entries)}s`
  );
}

/** How soon after the store is back running agents are: within their TTL. */
export function returnSeconds(entries: readonly RollEntry<NodeSummary>[]): number {
  return entries.reduce((most, { presence }) => Math.max(most, presence?.ttlSeconds ?? 0), 0) || USUAL_TTL_SECONDS;
}

function percents(share: number, limits: MassLossLimits): string {
  return `${percent(share)}, more than ${percent(limits.share)}`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}
