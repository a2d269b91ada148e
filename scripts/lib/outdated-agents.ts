import { createHash } from 'node:crypto';
import { canonicalUnit } from './canonical-unit.ts';
import type { RollNode } from './roll-node.ts';

/**
 * One line for each agent that is on the roll before a unit is deployed: it proves nothing about that unit, not even to
 * a later run that finds the unit deployed already. Each line is bound to the unit's text, so that who goes back to the
 * text from before is not told to wait for agents that may stay.
 */
export function outdatedLines(roll: readonly RollNode[], unitText: string): string[] {
  const present = roll.filter(({ presence }) => presence.state === 'present');
  return present.map(({ sidecar }) => `${fingerprint(unitText)} ${sidecar.session}`);
}

/** The sessions of the agents that do not speak for this unit. */
export function outdatedSessions(lines: string, unitText: string): Set<string> {
  const of = `${fingerprint(unitText)} `;
  const those = lines.split('\n').filter((line) => line.startsWith(of));
  return new Set(those.map((line) => line.slice(of.length)));
}

function fingerprint(unitText: string): string {
  return createHash('sha256').update(canonicalUnit(unitText).join('\n')).digest('hex').slice(0, 16);
}
