import type { Logger } from 'pino';
import type { PublisherState } from '../publisher/publisher-state.ts';
import type { Step } from '../publisher/step.ts';

/**
 * Turns the publisher's steps into few log lines: what changed, once, never each retry. An outage of an hour is two
 * lines, one when it began and one when it ended.
 */
export function createPublishLog(log: Logger): (step: Step, state: PublisherState) => void {
  let last: PublisherState | null = null;
  return (step, state) => {
    const before = last;
    last = state;
    if (!before || before === state) return;
    const { counts } = state;
    if (state.lastError !== null && before.lastError === null) {
      log.warn({ action: step.action }, `cannot ${step.action}: ${state.lastError}; retrying`);
    }
    if (state.lastError === null && before.lastError !== null) log.info('the store answers again');
    if (counts.losses > before.counts.losses) log.warn('the presence lease was lost; registering again');
    if (counts.registrations > before.counts.registrations) {
      const ttlSeconds = (state.hold?.ttlMs ?? 0) / 1_000;
      log.info({ ttlSeconds }, `registered ${state.hold?.seat.instanceId}: ${step.reason}`);
    } else if (counts.recordWrites > before.counts.recordWrites && state.phase === 'held') {
      log.info('the record changed and was written');
    }
    if (state.phase === 'superseded' && before.phase !== 'superseded') {
      log.error(`superseded: session ${state.supersededBy} took the seat of this node; this agent ends`);
    }
    if (state.phase === 'departed' && before.phase !== 'departed') log.info(`departed: ${step.reason}`);
  };
}
