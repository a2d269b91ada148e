import { DEPARTURE_CAUSES, type DepartureCause, type NodeRecord } from '../record/record.ts';

/** Why a node that is told to leave leaves: for what was announced to it, else because somebody stopped the agent. */
export function departureCause({ interruption }: NodeRecord): DepartureCause {
  // A rebalance recommendation is none of the causes: it takes no node away.
  return DEPARTURE_CAUSES.find((cause) => cause === interruption?.kind) ?? 'stopped';
}
