import type { LogLevel } from '../../config/flags.ts';
import type { AgentAccess } from '../../lib/agent-access.ts';
import type { Clock } from '../../lib/clock.ts';
import type { EventFilter } from '../../record/cloud-event.ts';
import type { FilterTexts } from '../../record/filter.ts';
import type { MassLossLimits } from '../../registry/mass-loss.ts';
import type { StoreConfig } from '../../store/store-url.ts';

/** The parsed configuration of `rollcall watch`. */
export interface WatchConfig {
  readonly store: StoreConfig;
  /** Origin of the agent that is watched instead of the store; null: the store. */
  readonly agent: string | null;
  readonly access: AgentAccess;
  /** Start after this revision; null: after the cursor file's, or with a snapshot. */
  readonly since: string | null;
  readonly filter: EventFilter;
  /** The same as texts, for an agent. */
  readonly filterTexts: FilterTexts;
  /** null: events are printed, or sent to the webhook. */
  readonly handler: HandlerConfig | null;
  readonly webhook: WebhookConfig | null;
  /** Of printed events: a line for a person, or JSON. */
  readonly output: 'text' | 'json';
  readonly cursorFile: string | null;
  /** Uncertain losses are held back until they are certain. */
  readonly hold: boolean;
  /** null: no loss is uncertain. */
  readonly massLoss: MassLossLimits | null;
  readonly logLevel: LogLevel;
}

/** The command that runs once for each event. */
export interface HandlerConfig {
  readonly argv: readonly [string, ...string[]];
  /** Deadline of one attempt. */
  readonly timeoutMs: number;
  /** Attempts after the first. */
  readonly retries: number;
  readonly storeVariables: Readonly<Record<string, string>>;
}

/** The dependencies of `rollcall watch`. */
export interface WatchDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends the watch. */
  readonly signal: AbortSignal;
  /** Writes one line for the user, unless --log-level hides this severity. */
  readonly log: (severity: LogLevel, line: string) => void;
}

/** Where each event is POSTed to. */
export interface WebhookConfig {
  readonly url: string;
  /** Deadline of one attempt. */
  readonly timeoutMs: number;
  /** Attempts after the first. */
  readonly retries: number;
  /** The file of the key that signs; null: no signature. Read for each event, so that it can be replaced. */
  readonly secretFile: string | null;
}
