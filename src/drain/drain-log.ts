import type { Logger } from 'pino';
import type { DrainState } from './drain-state.ts';
import type { DrainStep } from './plan-drain.ts';

interface DrainLog {
  step(step: DrainStep): void;
  /** Around a call. */
  outcome(before: DrainState, after: DrainState): void;
}

/** One line when the drain's state changes, one when it waits for another reason, one when calls begin to fail. */
export function createDrainLog(log: Logger): DrainLog {
  let last: { readonly phase: string; readonly reason: string } = { phase: 'idle', reason: '' };
  return {
    step({ action, phase, reason }) {
      if (action === 'drain') log.warn(`drain: asking ECS to drain this node: ${reason}`);
      if (action === 'activate') log.info(`drain: asking ECS to make this node active again: ${reason}`);
      // The steps on the way are not worth a line; where it comes to rest is.
      if (action !== 'wait') return;
      const news = phase !== last.phase || (phase === 'waiting' && reason !== last.reason);
      last = { phase, reason };
      if (!news) return;
      if (phase === 'idle') log.info(`drain: over: ${reason}`);
      else log.warn(`drain: ${phase}: ${reason}`);
    },
    outcome({ lastError: before }, { lastError: after }) {
      if (after !== null && after !== before) log.warn(`drain: ${after}`);
    },
  };
}
