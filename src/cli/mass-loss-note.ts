import type { MassLossLimits } from '../config/mass-loss-limits.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';

const USUAL_TTL_SECONDS = 30;

/** One line when so many nodes are lost that the store or the network may be what failed; else null. */
export function massLossNote(
  entries: readonly RollEntry[],
  limits: MassLossLimits | null,
  all: boolean,
): string | null {
  if (limits === null) return null;
  const lost = entries.filter((entry) => presenceState(entry) === 'lost').length;
  if (lost < limits.count) return null;
  const present = entries.filter((entry) => entry.presence !== null);
  const nodes = lost + present.length;
  if (lost <= limits.share * nodes) return null;
  // A node that is alive answers again within one TTL of the store's return.
  const ttlSeconds =
    present.reduce((most, { presence }) => Math.max(most, presence?.ttlSeconds ?? 0), 0) || USUAL_TTL_SECONDS;
  return (
    `note: ${lost} of ${nodes} nodes are lost (${percent(lost / nodes)}, more than ${percent(limits.share)}): if that is` +
    ` new, the store or the network may be what failed, and who is alive is back within ${ttlSeconds}s` +
    `${all ? '' : '; --all shows them'}`
  );
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}
