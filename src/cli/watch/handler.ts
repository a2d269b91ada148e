import type { LogLevel } from '../../config/flags.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { formatDuration } from '../../lib/duration.ts';
import { describeError, printable, RollcallError } from '../../lib/errors.ts';
import { type CommandResult, type CommandRun, runCommand } from '../../lib/run-command.ts';
import { type CloudEvent, type EventFilter, eventType } from '../../record/cloud-event.ts';
import type { RollEvent } from '../../record/events.ts';
import { presenceState } from '../../record/roll.ts';
import type { MassLossLimits } from '../../registry/mass-loss.ts';
import type { StoreConfig } from '../../store/store-url.ts';

/** What becomes of an event once its handler has run. */
export type AfterAttempt =
  | { readonly kind: 'finished' }
  | { readonly kind: 'retry'; readonly delayMs: number }
  | { readonly kind: 'given-up' };

export interface Attempt {
  /** null: it worked. */
  readonly failure: string | null;
  /** 1 for the first. */
  readonly number: number;
  /** Attempts allowed after the first. */
  readonly retries: number;
  /** Evenly distributed in [0, 1). */
  readonly random: number;
}

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;

export function afterAttempt({ failure, number, retries, random }: Attempt): AfterAttempt {
  if (failure === null) return { kind: 'finished' };
  if (number > retries) return { kind: 'given-up' };
  return { kind: 'retry', delayMs: new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS, number - 1).delayMs(random) };
}

/** Why a run of a handler does not count, for a person; null when it does. */
export function failureOf(
  result: Pick<CommandResult, 'status' | 'signal' | 'timedOut'>,
  timeoutMs: number,
): string | null {
  if (result.timedOut) return `no end within ${formatDuration(timeoutMs)}`;
  if (result.signal !== null) return `ended by ${result.signal}`;
  if (result.status === null) return 'it could not be ended';
  return result.status === 0 ? null : `exit status ${result.status}`;
}

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

/**
 * Runs the handler for one event until it worked or is given up; either way the event is done with.
 * Rejects with the reason of `deps.signal`, with the handler killed.
 * @param variables the event's own, on top of our environment
 */
export async function handleEvent(
  event: CloudEvent,
  variables: Readonly<Record<string, string>>,
  handler: HandlerConfig,
  deps: WatchDeps,
): Promise<void> {
  const { clock, random, signal, log } = deps;
  const run: CommandRun = {
    argv: handler.argv,
    stdin: `${JSON.stringify(event)}\n`,
    env: { ...deps.env, ...handler.storeVariables, ...variables },
    timeoutMs: handler.timeoutMs,
    maxOutputBytes: 0,
    output: 'inherit',
    clock,
    signal,
  };
  const about = `event ${event.id} (${event.type}${event.subject ? ` of ${event.subject}` : ''})`;
  for (let number = 1; ; number += 1) {
    const failure = await attempt(run);
    const after = afterAttempt({ failure, number, retries: handler.retries, random: random() });
    if (after.kind === 'finished') return;
    if (after.kind === 'given-up') {
      const attempts = number === 1 ? '1 attempt' : `${number} attempts`;
      log(
        'error',
        `error: gave up ${about} after ${attempts} of ${handler.argv[0]}: ${failure}; going on with the next`,
      );
      return;
    }
    const again = `again in ${formatDuration(after.delayMs)}, retry ${number} of ${handler.retries}`;
    log('warn', `warning: ${handler.argv[0]} failed on ${about}: ${failure}; ${again}`);
    await clock.sleep(after.delayMs, signal);
  }
}

/** @returns why it failed; null when it worked */
async function attempt(run: CommandRun): Promise<string | null> {
  try {
    return failureOf(await runCommand(run), run.timeoutMs);
  } catch (error) {
    run.signal.throwIfAborted();
    // It could not be started: too little memory, or the file is being replaced. The next attempt may succeed.
    if (error instanceof RollcallError) return describeError(error);
    throw error;
  }
}

/** The kernel takes 128 kB a variable and refuses to start a program with more. */
const MAX_VALUE = 4_096;

/**
 * The main fields of an event as variables, every one always set: empty where there is nothing to say, so that nothing
 * of the environment we run in shows through. No flag of ours has a variable that begins with ROLLCALL_EVENT_.
 */
export function handlerEnvironment(event: RollEvent, { id }: Pick<CloudEvent, 'id'>): Record<string, string> {
  const about = 'instanceId' in event ? event : null;
  // Whom the store has forgotten is still known by its last record.
  const record = (about?.after ?? about?.before)?.record;
  const values = {
    TYPE: eventType(event.kind),
    ID: id,
    REVISION: event.revision,
    SNAPSHOT: String(about?.snapshot ?? event.kind === 'synced'),
    INSTANCE_ID: about?.instanceId,
    CLUSTER: record?.cluster,
    IP: record?.privateIpAddress,
    ARN: record?.containerInstanceArn,
    HEALTH: record?.health.status,
    PRESENCE: about?.after ? presenceState(about.after) : undefined,
    CAUSE: record?.departure?.cause,
  };
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      `ROLLCALL_EVENT_${name}`,
      printable(value ?? '').slice(0, MAX_VALUE),
    ]),
  );
}
