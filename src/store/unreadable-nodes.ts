import type { Roll } from '../record/roll.ts';
import { parseKey, ROOT } from './keys.ts';

/**
 * Says, as `its record cannot be read: not JSON`, why a node may be there although the roll does not show it; null where
 * the store says nothing of the kind about it.
 */
export type UnreadableNodes = (instanceId: string) => string | null;

export function unreadableNodes(skipped: Roll['skipped']): UnreadableNodes {
  const reasons = new Map<string, string>();
  for (const { key, reason } of skipped) {
    const parsed = parseKey(key);
    if (parsed.kind === 'record' || parsed.kind === 'presence') {
      reasons.set(parsed.instanceId, `its ${parsed.kind} cannot be read: ${reason}`);
    }
  }
  // A roll names only so many of them, and then the number of the others: it may be any.
  const unnamed = skipped.find(({ key }) => key === ROOT)?.reason;
  const maybe = unnamed === undefined ? null : `its record may be among those that cannot be read: ${unnamed}`;
  return (instanceId) => reasons.get(instanceId) ?? maybe;
}
