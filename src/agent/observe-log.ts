import type { Logger } from 'pino';
import { mostUrgent } from '../sources/notices.ts';
import type { SourceStatus } from '../sources/poll-source.ts';
import type { NodeState } from './node-state.ts';

export interface ObserveLog {
  /** Around a read of a source. @param before null before its first read */
  source(before: SourceStatus | null, after: SourceStatus): void;
  /** Around an event. */
  state(before: NodeState, after: NodeState): void;
}

/** Checks whose trouble is their source's, which tells it sooner and in more words. */
const TOLD_BY_SOURCE = new Set(['metadata', 'ecs-agent']);

/** Turns what was observed into few log lines: only a change of mood is worth one; the checks carry the rest. */
export function createObserveLog(log: Logger): ObserveLog {
  return {
    source(before, { name, lastError }) {
      if (lastError !== null && !before?.lastError) log.warn(`${name}: ${lastError}`);
      if (lastError === null && before?.lastError) log.info(`${name} answers again`);
    },
    state(before, after) {
      logNotice(log, before, after);
      if (before.checks === after.checks) return;
      for (const check of after.checks) {
        if (TOLD_BY_SOURCE.has(check.name)) continue;
        const last = before.checks.find(({ name }) => name === check.name);
        if (check.status === (last?.status ?? 'passing')) continue;
        if (check.status === 'passing') log.info(`check ${check.name} passes again`);
        else log.warn(`check ${check.name} is ${check.status}: ${check.reason}`);
      }
    },
  };
}

function logNotice(log: Logger, before: NodeState, after: NodeState): void {
  if (before.notices === after.notices) return;
  const [last, notice] = [mostUrgent(before.notices), mostUrgent(after.notices)];
  if (notice && !(last && notice.kind === last.kind && notice.action === last.action && notice.time === last.time)) {
    const what = [notice.kind, notice.action, notice.time && `at ${notice.time}`].filter(Boolean).join(' ');
    log.warn(`EC2 announces ${what}`);
  }
  if (last && !notice) log.info(`EC2 took back its notice: ${last.kind}`);
}
