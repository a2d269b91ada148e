import { INSTANCE_ID } from '../record/codec.ts';
import type { Roll } from '../record/roll.ts';
import { parseKey, ROOT } from './keys.ts';

/**
 * Why a node may exist although the roll does not show it, such as `its record cannot be read: not JSON`; null: no reason
 * to think so.
 */
export type UnreadableNodes = (instanceId: string) => string | null;

export function unreadableNodes(skipped: Roll['skipped']): UnreadableNodes {
  const reasons = new Map<string, string>();
  for (const { key, reason } of skipped) {
    // What a reader of an agent's answer cannot read it names by the instance id alone.
    const parsed = INSTANCE_ID.test(key) ? ({ kind: 'record', instanceId: key } as const) : parseKey(key);
    if (parsed.kind === 'record' || parsed.kind === 'presence') {
      reasons.set(parsed.instanceId, `its ${parsed.kind} cannot be read: ${reason}`);
    }
  }
  // A roll names only `MAX_SKIPPED` of them and then their number: any node may be among the rest.
  const unnamed = skipped.find(({ key }) => key === ROOT)?.reason;
  const maybe = unnamed === undefined ? null : `its record may be among those that cannot be read: ${unnamed}`;
  return (instanceId) => reasons.get(instanceId) ?? maybe;
}

/**
 * The same for one who named the node, such as `the record of i-… cannot be read: not JSON`. A node that cannot be read is
 * not one that is gone.
 */
export function describeUnread(skipped: Roll['skipped'], name: string): string | null {
  const reason = unreadableNodes(skipped)(name);
  return reason?.replace(/^its (\w+)/, (_, what) => `the ${what} of ${name}`) ?? null;
}
