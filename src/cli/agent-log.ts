import { fstatSync } from 'node:fs';
import { isLogged, type LogLevel } from '../config/flags.ts';
import type { Clock } from '../lib/clock.ts';
import { createJsonLog, type Log } from '../lib/log.ts';
import { openLogOutput } from '../lib/log-output.ts';

interface AgentLogOptions {
  readonly level: LogLevel;
  /** Each line begins with its priority, as journald takes it from a service. */
  readonly priorities: boolean;
  /** In each line; null: not known yet. */
  readonly instanceId: () => string | null;
  readonly clock: Pick<Clock, 'wallMs' | 'sleep'>;
}

const STDERR = 2;
/** How soon a stuck reader of stderr is tried again. */
const TRY_AGAIN_MS = 250;
/** How long the end of the agent waits for its last lines to be read. */
const FLUSH_LIMIT_MS = 1_000;

interface AgentLog extends Log {
  /** For the end of the process. */
  flush(): void;
}

/** JSON lines on stderr, which journald stores with the unit. A reader that is stuck does not stop the agent. */
export function createLog({ level, priorities, instanceId, clock }: AgentLogOptions): AgentLog {
  const { signal } = new AbortController();
  const output = openLogOutput(STDERR, {
    later: (tryAgain) => void clock.sleep(TRY_AGAIN_MS, signal).then(tryAgain),
    // At each level: errors may be among them.
    onDropped: (lines) => log.error({ lines }, 'lines of the log were dropped while nothing read stderr'),
  });
  const log = createJsonLog({
    isLogged: (severity) => isLogged(level, severity),
    wallMs: clock.wallMs,
    write: output.write,
    priorities,
    always: () => {
      const id = instanceId();
      return id === null ? {} : { instanceId: id };
    },
  });
  return { ...log, flush: () => output.flush(FLUSH_LIMIT_MS) };
}

/**
 * What a line with the failure that ends the agent begins with: its priority where stderr is the journal. Such a line may
 * come before the flags are known, so that the variable and the flag's own text decide.
 */
export function failurePrefix(args: readonly string[], env: Readonly<Record<string, string | undefined>>): string {
  if (args[0] !== 'agent') return '';
  const flag = args.findLast((arg, at) => arg.startsWith('--journal=') || args[at - 1] === '--journal');
  const how = flag?.replace('--journal=', '') ?? env['ROLLCALL_JOURNAL'];
  const known = how === 'on' || how === 'off' ? how : 'auto';
  return isOnJournal(known, env['JOURNAL_STREAM']) ? '<3>' : '';
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
