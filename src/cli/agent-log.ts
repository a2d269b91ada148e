import { fstatSync } from 'node:fs';
import { isLogged, type LogLevel } from '../config/flags.ts';
import type { Clock } from '../lib/clock.ts';
import { createJsonLog, type Log, writeWhole } from '../lib/log.ts';

interface AgentLogOptions {
  readonly level: LogLevel;
  /** Each line begins with its priority, as journald takes it from a service. */
  readonly priorities: boolean;
  /** In each line; null: not known yet. */
  readonly instanceId: () => string | null;
  readonly clock: Pick<Clock, 'wallMs'>;
}

const STDERR = 2;

/** JSON lines on stderr, which journald stores with the unit. A few lines per day: a buffer would save nothing. */
export function createLog({ level, priorities, instanceId, clock }: AgentLogOptions): Log {
  return createJsonLog({
    isLogged: (severity) => isLogged(level, severity),
    wallMs: clock.wallMs,
    write: (line) => writeWhole(STDERR, line),
    priorities,
    always: () => {
      const id = instanceId();
      return id === null ? {} : { instanceId: id };
    },
  });
}

/** How the lines of the log begin: `auto` looks whether stderr is the journal. */
export type JournalHow = 'auto' | 'on' | 'off';

/**
 * Whether stderr is the stream to the journal that systemd names in JOURNAL_STREAM (systemd.exec(5)). The variable alone
 * says nothing: a child whose stderr is redirected inherits it.
 */
export function isOnJournal(how: JournalHow, journalStream: string | undefined, fd = 2): boolean {
  if (how !== 'auto') return how === 'on';
  if (journalStream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return journalStream === `${dev}:${ino}`;
  } catch {
    return false; // stderr is closed
  }
}
