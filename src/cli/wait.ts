import { Command, Option } from 'commander';
import { type FilterFlags, filterOptions } from '../config/filter-flags.ts';
import { durationBetween, integerBetween, isLogged, logLevelOption } from '../config/flags.ts';
import { agentReadOptions, storeOptions } from '../config/store-flags.ts';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { formatDuration } from '../lib/duration.ts';
import { describeError, RollcallError } from '../lib/errors.ts';
import { describeUnmatched, filterRoll, parseFilter } from '../record/filter.ts';
import { NoStoreFileError } from '../store/store-errors.ts';
import { type CliContext, createOnce, type ReadFlags, warn } from './context.ts';
import { describeFlaws, type Flaws, rollChanges } from './follow-roll.ts';

/** `timeout` is the limit of the whole command, in ms. */
interface WaitFlags extends Omit<ReadFlags, 'timeout'>, FilterFlags {
  readonly count: number;
  readonly timeout: number;
}

const HELP = `
Ends with status 0 as soon as at least so many nodes match, present ones unless
--presence says otherwise; with status 1 when the time is over. While the store
or the agent does not answer, the agent cannot read the store, or the file of a
SQLite store does not exist yet, it goes on trying.

Examples:
  rollcall wait --count 3 --health passing --timeout 5m
  rollcall wait --cluster demo -l role=web --agent http://10.113.0.22:51690
  rollcall wait --presence departed --count 1 && echo one has left`;

const DAY_MS = 86_400_000;
/** How often it polls whether an agent has made the file of an embedded store. */
const NO_FILE_PAUSE_MS = 500;

export function waitCommand(context: CliContext): Command {
  const command = new Command('wait')
    .description('Wait until so many nodes match.')
    .addOption(
      new Option('--count <n>', 'number of nodes to wait for, or more')
        .env('ROLLCALL_COUNT')
        .default(1)
        .argParser(integerBetween(1, 1_000_000)),
    )
    .addOption(
      new Option('--timeout <duration>', 'how long to wait')
        .env('ROLLCALL_WAIT_TIMEOUT')
        .default(300_000, '5m')
        .argParser(durationBetween(100, 7 * DAY_MS)),
    )
    .addHelpText('after', HELP);
  for (const option of [...filterOptions(), ...agentReadOptions(), ...storeOptions(), logLevelOption()]) {
    command.addOption(option);
  }
  return command.action(async ({ timeout, ...flags }: WaitFlags) => {
    const matching = await waitForNodes(context, flags, timeout);
    await context.stdout(`${matching} ${matching === 1 ? 'node matches' : 'nodes match'}\n`);
  });
}

/** @returns how many match @throws RollcallError when the time is over, or an error that a retry cannot fix */
async function waitForNodes(context: CliContext, flags: Omit<WaitFlags, 'timeout'>, limitMs: number): Promise<number> {
  const filter = parseFilter({ presence: ['present'], ...flags });
  let state = 'no answer yet';
  let trouble: string | null = null;
  const onRetry = (error: Error) => {
    const isNew = trouble === null;
    trouble = describeError(error);
    if (isNew && isLogged(flags.logLevel, 'warn')) context.stderr(`warning: ${trouble}; trying again`);
    following = false;
  };
  const onOpen = () => {
    const what = flags.agent === undefined ? 'store' : 'agent';
    if (trouble !== null && opened && isLogged(flags.logLevel, 'warn'))
      context.stderr(`note: the ${what} answers again`);
    trouble = null;
    [opened, following] = [true, true];
  };
  // While it does not follow, the error says why.
  let [opened, following, stale] = [false, false, false];
  const warnOnce = createOnce((lines) => warn(context, flags, lines));
  const onFlaws = (flaws: Flaws) => warnOnce(describeFlaws(flaws));
  const onStale = (now: boolean) => {
    if (now && !following) return;
    const line = now
      ? 'warning: the store does not answer, so nodes may have changed; trying again'
      : 'note: the store answers again';
    if (now !== stale && isLogged(flags.logLevel, 'warn')) context.stderr(line);
    stale = now;
  };
  const wait = async (signal: AbortSignal): Promise<number> => {
    const calls = { signal, onRetry, onOpen, onStale, onFlaws, onlyCurrent: true };
    for await (const roll of rollChanges(context, flags, calls)) {
      const entries = roll.entries();
      const matching = filterRoll(entries, filter).length;
      if (matching >= flags.count) return matching;
      const notes = describeUnmatched(entries, filter).map((note) => `; ${note}`);
      state = `${matching} of ${flags.count} nodes match${notes.join('')}`;
    }
    throw new RollcallError('the events of the roll ended');
  };
  const waitForStore = async (signal: AbortSignal): Promise<number> => {
    for (;;) {
      try {
        return await wait(signal);
      } catch (error) {
        if (!(error instanceof NoStoreFileError)) throw error;
        onRetry(error);
        await context.clock.sleep(NO_FILE_PAUSE_MS, signal);
      }
    }
  };
  try {
    return await withDeadline(context.clock, limitMs, context.signal, 'wait', waitForStore);
  } catch (error) {
    if (!(error instanceof DeadlineError) || error.timeoutMs !== limitMs) throw error;
    throw new RollcallError(`not within ${formatDuration(limitMs)}: ${trouble ?? state}`);
  }
}
