import { Backoff } from '../../lib/backoff.ts';
import { formatDuration } from '../../lib/duration.ts';
import { describeError, RollcallError } from '../../lib/errors.ts';
import { printable } from '../../lib/foreign-text.ts';
import { type CommandResult, type CommandRun, runCommand } from '../../lib/run-command.ts';
import { type CloudEvent, eventType } from '../../record/cloud-event.ts';
import type { HandlerConfig, WatchDeps } from './watch-config.ts';

/** What to do with an event after a run of its handler. */
type NextStep =
  | { readonly kind: 'finished' }
  | { readonly kind: 'retry'; readonly delayMs: number }
  | { readonly kind: 'given-up' };

interface Attempt {
  /** null: the run succeeded. */
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

export function nextStep({ failure, number, retries, random }: Attempt): NextStep {
  if (failure === null) return { kind: 'finished' };
  if (number > retries) return { kind: 'given-up' };
  const backoff = new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS, number - 1);
  // At least half: what hung until its timeout needs a moment, and there is no fleet to spread.
  return { kind: 'retry', delayMs: backoff.delayMs((1 + random) / 2) };
}

/** Why a run of a handler failed, for messages; null if it succeeded. */
export function runFailure(
  result: Pick<CommandResult, 'status' | 'signal' | 'timedOut'>,
  timeoutMs: number,
): string | null {
  if (result.timedOut) return `not finished within ${formatDuration(timeoutMs)}`;
  if (result.signal !== null) return `ended by ${result.signal}`;
  if (result.status === null) return 'it could not be killed';
  return result.status === 0 ? null : `exit status ${result.status}`;
}

/**
 * Runs the handler for one event until it succeeds or the event is given up. In both cases the event is finished.
 * Rejects with the reason of `deps.signal`, after the handler is killed.
 */
export async function handleEvent(event: CloudEvent, handler: HandlerConfig, deps: WatchDeps): Promise<void> {
  const { clock, random, signal, log } = deps;
  const run: CommandRun = {
    argv: handler.argv,
    stdin: `${JSON.stringify(event)}\n`,
    env: { ...deps.env, ...handler.storeVariables, ...handlerEnvironment(event) },
    timeoutMs: handler.timeoutMs,
    maxOutputBytes: 0,
    output: 'inherit',
    clock,
    signal,
  };
  const about = printable(`event ${event.id} (${event.type}${event.subject ? ` of ${event.subject}` : ''})`);
  for (let number = 1; ; number += 1) {
    const failure = await runHandler(run);
    const after = nextStep({ failure, number, retries: handler.retries, random: random() });
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

/** @returns why the run failed; null if it succeeded */
async function runHandler(run: CommandRun): Promise<string | null> {
  try {
    return runFailure(await runCommand(run), run.timeoutMs);
  } catch (error) {
    run.signal.throwIfAborted();
    // The handler could not start: too little memory, or its file is being replaced. The next attempt may succeed.
    if (error instanceof RollcallError) return describeError(error);
    throw error;
  }
}

/** Well below 128 kB, the kernel's limit of one variable; above it the program would not start. */
const MAX_VALUE = 4_096;

/**
 * The main fields of an event as variables. Each is always set, if only to an empty text, so that a value of this process's
 * own environment is never passed on. No flag has a variable that starts with ROLLCALL_EVENT_.
 */
export function handlerEnvironment(event: CloudEvent): Record<string, string> {
  const about = 'record' in event.data ? event.data : null;
  const found = 'kind' in event.data ? event.data : null;
  // A `forgotten` event still has the node's last record.
  const record = about?.record ?? about?.previous;
  const values = {
    TYPE: event.type,
    ID: event.id,
    REVISION: event.revision,
    SNAPSHOT: String(event.snapshot ?? event.type === eventType('synced')),
    INSTANCE_ID: found ? found.instanceId : event.subject,
    CLUSTER: record?.cluster ?? found?.cluster,
    IP: record?.privateIpAddress ?? found?.privateIpAddress,
    ARN: record?.containerInstanceArn ?? found?.containerInstanceArn,
    HEALTH: record?.health.status,
    PRESENCE: about?.presence?.state,
    CAUSE: record?.departure?.cause,
    UNCERTAIN: about?.uncertain ? 'true' : undefined,
    DIFFERENCE: found?.kind,
    REASON: found?.reason,
  };
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      `ROLLCALL_EVENT_${name}`,
      printable(value ?? '').slice(0, MAX_VALUE),
    ]),
  );
}
