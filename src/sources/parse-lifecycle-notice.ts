import type { Interruption } from '../record/record.ts';
import { quote } from './quote.ts';
import { SourceError } from './source-error.ts';

/**
 * Target states in which the instance does not go on running, and what becomes of it. The others are `InService`,
 * `Standby`, `Detached` and `Warmed:Running`: https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html
 */
const ACTIONS: readonly (readonly [RegExp, string])[] = [
  // Only steady states are documented as targets; those on the way there mean the same.
  [/^(Warmed:)?Terminat(ed|ing(:(Wait|Proceed))?)$/, 'terminate'],
  [/^Warmed:Stopped$/, 'stop'],
  [/^Warmed:Hibernated$/, 'hibernate'],
];

/**
 * What the Auto Scaling group is about to do with the instance; null while it lets it run. It names no time.
 * @throws SourceError when it is no lifecycle state; one that is merely unknown lets the instance run
 */
export function parseLifecycleNotice(text: string): Interruption | null {
  const state = text.trim();
  if (!/^[A-Za-z]{1,32}(:[A-Za-z]{1,32}){0,2}$/.test(state)) {
    throw new SourceError(`IMDS autoscaling/target-lifecycle-state: expected a lifecycle state, got ${quote(text)}`);
  }
  const action = ACTIONS.find(([pattern]) => pattern.test(state))?.[1];
  return action === undefined ? null : { kind: 'asg-termination', action, time: null };
}
