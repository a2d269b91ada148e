import { describeError, RollcallError } from '../../errors.ts';
import { type CommandRun, runCommand } from '../../lifecycle/run-command.ts';
import type { CloudEvent } from '../../record/cloud-event.ts';
import { formatDuration } from '../../timing/duration.ts';
import { afterAttempt, failureOf } from './after-attempt.ts';
import type { HandlerConfig } from './watch-config.ts';
import type { WatchDeps } from './watch-deps.ts';

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
