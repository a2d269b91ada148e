import { type CheckState, type Damping, type Observation, observeCheck } from '../checks/observe-check.ts';
import { leaseOverdue } from '../publisher/plan.ts';
import type { PublisherState } from '../publisher/publisher-state.ts';
import type { Step } from '../publisher/step.ts';
import type { Clock } from '../timing/clock.ts';
import { type CheckLooks, countLook, type WatchedCheck } from './check-looks.ts';

/** The `store` check: each answered call of the publisher is a look. Of this process alone, since a store that fails takes no record. */
export interface StoreCheck {
  /** To be called with each step of the publisher. */
  onStep(step: Step, state: PublisherState): void;
  /** null before the first answer. */
  watched(): WatchedCheck | null;
}

export function createStoreCheck(clock: Clock, damping: Damping): StoreCheck {
  let check: CheckState | null = null;
  let looks: CheckLooks | null = null;
  let last: { readonly state: PublisherState; readonly step: Step; readonly atMs: number } | null = null;
  return {
    onStep(step, state) {
      const nowMs = clock.monotonicMs();
      const before = last;
      last = { step, state, atMs: nowMs };
      // The publisher tells a step before its call and after it; only an answer, or its lack, makes a new state.
      if (!before || before.state === state) return;
      const seen = storeLook(state, nowMs);
      check = observeCheck('store', check, seen, damping, clock.wallMs());
      looks = countLook(looks, seen, nowMs - before.atMs, nowMs);
    },
    watched: () => (check && looks ? { check, looks } : null),
  };
}

/** What the publisher's state says of the store, and of our place in it. @param nowMs on the monotonic clock */
export function storeLook(state: PublisherState, nowMs: number): Observation {
  const onRoll = state.phase === 'departed' || (state.phase === 'held' && !leaseOverdue(state, nowMs));
  if (onRoll) return { status: state.lastError === null ? 'passing' : 'warning', reason: state.lastError ?? '' };
  const lost = state.phase === 'unregistered' ? 'not registered' : 'the presence lease is lost';
  return { status: 'critical', reason: state.lastError === null ? lost : `${lost}: ${state.lastError}` };
}
