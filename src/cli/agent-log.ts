import { fstatSync } from 'node:fs';
import type { Logger } from 'pino';
import type { LogLevel } from '../config/flags.ts';

interface AgentLogOptions {
  readonly level: LogLevel;
  /** Each line begins with its priority, as journald takes it from a service. */
  readonly priorities: boolean;
  /** In each line; null: not known yet. */
  readonly instanceId: () => string | null;
}

/** stderr, written synchronously: an agent that ends does not lose its last line. */
const STDERR = { fd: 2, sync: true };

/** JSON lines on stderr, which journald stores with the unit. A few lines per day: a buffer would save nothing. */
export async function createLog({ level, priorities, instanceId }: AgentLogOptions): Promise<Logger> {
  // Loaded here, because only the agent needs a logger.
  const { pino } = await import('pino');
  const destination = pino.destination(STDERR);
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      mixin: () => {
        const id = instanceId();
        return id === null ? {} : { instanceId: id };
      },
    },
    priorities ? withPriorities((line) => destination.write(line)) : destination,
  );
}

interface PrefixingStream {
  /** Set by pino before each line, because of the marker below. */
  lastLevel: number;
  write(line: string): void;
}

/** Puts `<4>` and the like before each line: sd-daemon(3). journald takes it off and stores it as the priority. */
export function withPriorities(write: (line: string) => void): PrefixingStream {
  const stream = {
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 30,
    write: (line: string) => write(`<${priorityOf(stream.lastLevel)}>${line}`),
  };
  return stream;
}

/** The syslog priority of pino's level: debug 7, info 6, warning 4, error 3, critical 2. */
function priorityOf(level: number): number {
  if (level >= 60) return 2;
  if (level >= 50) return 3;
  if (level >= 40) return 4;
  return level >= 30 ? 6 : 7;
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
