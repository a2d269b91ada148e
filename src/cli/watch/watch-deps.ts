import type { LogLevel } from '../../config/log-level.ts';
import type { Clock } from '../../timing/clock.ts';

/** What the parts of `rollcall watch` work with. */
export interface WatchDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends everything. */
  readonly signal: AbortSignal;
  /** One line for a person, unless --log-level hides what is as severe as this. */
  readonly log: (severity: LogLevel, line: string) => void;
}
