import { knownChecks } from '../checks/check.ts';
import type { Log } from '../lib/log.ts';
import type { Interruption } from '../record/record.ts';
import type { SourceStatus } from '../sources/poll-source.ts';
import { type NodeIdentity, type NodeState, publishedInterruption } from './node-state.ts';

interface ObserveLog {
  /** Called around a read of a source. @param before null before its first read */
  source(before: SourceStatus | null, after: SourceStatus): void;
  /** Called around an event. */
  state(before: NodeState, after: NodeState): void;
}

/** Different lines about decorative facts that one process logs. */
const MAX_NOTES = 50;

/** Checks that fail with their source; the source logs it first and with more detail. */
const LOGGED_BY_SOURCE = new Set(['metadata', 'ecs-agent', 'notices']);

/** Logs changes of sources, notices and checks, not each result. */
export function createObserveLog(log: Log, identity: NodeIdentity): ObserveLog {
  const noted = new Set<string>();
  return {
    source(before, { name, lastError, notes }) {
      // While more than that fails, its own line says why.
      for (const note of lastError === null ? notes : []) {
        if (noted.has(note) || noted.size >= MAX_NOTES) continue;
        noted.add(note);
        log.warn(`${name}: ${note}; it does not change the health`);
      }
      if (lastError !== null && !before?.lastError) log.warn(`${name}: ${lastError}`);
      if (lastError === null && before?.lastError) log.info(`${name} answers again`);
    },
    state(before, after) {
      logNotice(log, publishedInterruption(before, identity), publishedInterruption(after, identity));
      if (before.checks === after.checks) return;
      for (const check of knownChecks(after.checks)) {
        if (LOGGED_BY_SOURCE.has(check.name)) continue;
        const last = before.checks.find(({ name }) => name === check.name);
        if (check.status === (last?.status ?? 'passing')) continue;
        if (check.status === 'passing') log.info(`check ${check.name} passes again`);
        else log.warn(`check ${check.name} is ${check.status}: ${check.reason}`);
      }
    },
  };
}

function logNotice(log: Log, last: Interruption | null, notice: Interruption | null): void {
  if (notice && !(last && notice.kind === last.kind && notice.action === last.action && notice.time === last.time)) {
    const what = [notice.kind, notice.action, notice.time && `at ${notice.time}`].filter(Boolean).join(' ');
    log.warn(`EC2 notice: ${what}`);
  }
  if (last && !notice) log.info(`EC2 withdrew its notice: ${last.kind}`);
}
