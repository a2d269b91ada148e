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
  const lost = entries.filter((entry) => presenceState(entry) === 'lost').length;
  const present = entries.filter((entry) => entry.presence !== null);
  if (limits === null || !isMassLoss(lost, present.length, limits)) return null;
  const nodes = lost + present.length;
  // A running agent registers again within one TTL after the store is back.
  const ttlSeconds =
    present.reduce((most, { presence }) => Math.max(most, presence?.ttlSeconds ?? 0), 0) || USUAL_TTL_SECONDS;
  return (
    `note: ${lost} of ${nodes} nodes are lost (${percent(lost / nodes)}, more than ${percent(limits.share)}): if this is` +
    ` new, the store or the network may have failed, and running agents are back within ${ttlSeconds}s` +
    `${all ? '' : '; --all shows the lost nodes'}`
  );
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}
