import type { Attribute } from '../ecs/container-instance.ts';
import type { NodeRecord } from '../record/record.ts';
import type { AttributesState } from './attributes-state.ts';
import type { AttributesStep, Target } from './attributes-step.ts';
import { OWN_PREFIX, wantedAttributes } from './wanted-attributes.ts';

const PATIENCE_MS = 3_600_000;

export interface AttributesInput {
  /** null until the instance id is known. */
  readonly record: NodeRecord | null;
  readonly leaving: boolean;
  /** No first look before this instant, on the monotonic clock: what is written follows a look. */
  readonly firstLookAtMs: number;
}

/** The next step towards having in ECS what the record says; pure. @param nowMs on the monotonic clock */
export function planAttributes(state: AttributesState, nowMs: number, input: AttributesInput): AttributesStep {
  const { record, leaving, firstLookAtMs } = input;
  const known = record?.containerInstanceArn && record.cluster;
  if (!record || !known) {
    if (leaving) return { action: 'done', reason: 'left before ecs-agent was registered' };
    return { action: 'wait', untilMs: nowMs + PATIENCE_MS, reason: 'ecs-agent has not registered this node yet' };
  }
  const target = { cluster: known, arn: record.containerInstanceArn ?? '' };
  const ours = state.arn === target.arn ? state : null;
  // Who leaves has no time to look first, nor to try again.
  if (leaving) return farewell(state, ours, target, record);
  if (ours && nowMs < ours.retryAtMs) {
    return { action: 'wait', untilMs: ours.retryAtMs, reason: `retrying: ${ours.lastError ?? 'the last call failed'}` };
  }
  if (nowMs < firstLookAtMs) {
    return { action: 'wait', untilMs: firstLookAtMs, reason: 'agents that started together do not ask ECS together' };
  }
  if (!ours?.believed) return { action: 'describe', target, reason: 'not known what ECS has' };
  // Somebody may have deleted one by hand.
  if (nowMs >= ours.lookAgainAtMs) return { action: 'describe', target, reason: 'last looked hours ago' };
  const wanted = wantedAttributes(record, false, ours.others).attributes;
  const superfluous = [...ours.believed.keys()].filter(
    (name) => name.startsWith(OWN_PREFIX) && !wanted.some((each) => each.name === name),
  );
  const differing = differences(ours.believed, wanted);
  if (superfluous.length + differing.length === 0) {
    return { action: 'wait', untilMs: ours.lookAgainAtMs, reason: 'ECS has what it should' };
  }
  if (nowMs < ours.nextWriteAtMs) {
    return { action: 'wait', untilMs: ours.nextWriteAtMs, reason: 'changed again within a minute' };
  }
  // First, for ECS counts all against one limit.
  if (superfluous.length > 0) {
    return { action: 'delete', target, names: superfluous.slice(0, 10), reason: 'no longer wanted' };
  }
  return { action: 'put', target, attributes: differing, reason: ours.lastWrite ? 'changed' : 'not there yet' };
}

function farewell(
  state: AttributesState,
  ours: AttributesState | null,
  target: Target,
  record: NodeRecord,
): AttributesStep {
  const [health] = wantedAttributes(record, true, 0).attributes;
  if (!health || state.saidGoodbye) return { action: 'done', reason: 'said goodbye' };
  // Where a look found nothing of ours, nothing has to be taken back; who has not looked yet cannot know.
  if (ours && ours.lastWrite === null && !ours.believed?.has(health.name))
    return { action: 'done', reason: 'nothing was written' };
  return { action: 'put', target, attributes: [health], reason: 'leaving' };
}

function differences(believed: ReadonlyMap<string, string | null>, wanted: readonly Attribute[]): readonly Attribute[] {
  return wanted.filter(({ name, value }) => !believed.has(name) || believed.get(name) !== value);
}
