import type { LogLevel } from '../../config/log-level.ts';
import type { MassLossLimits } from '../../config/mass-loss-limits.ts';
import type { StoreConfig } from '../../config/store-config.ts';
import type { EventFilter } from '../../record/event-filter.ts';

/** All that `rollcall watch` is told, parsed and within its limits. */
export interface WatchConfig {
  readonly store: StoreConfig;
  /** null: where the cursor file says, else with a snapshot. */
  readonly since: string | null;
  readonly filter: EventFilter;
  /** null: events are printed. */
  readonly handler: HandlerConfig | null;
  readonly cursorFile: string | null;
  /** null: losses are told at once, however many. */
  readonly massLoss: MassLossLimits | null;
  readonly logLevel: LogLevel;
}

/** The command that runs once for each event. */
export interface HandlerConfig {
  readonly argv: readonly [string, ...string[]];
  /** Of one attempt. */
  readonly timeoutMs: number;
  /** Attempts after the first. */
  readonly retries: number;
  readonly storeVariables: Readonly<Record<string, string>>;
}
