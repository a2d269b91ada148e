import { Command, InvalidArgumentError, Option } from 'commander';
import { type FilterFlags, filterOptions } from '../../config/filter-flags.ts';
import { durationBetween, integerBetween, logLevelOption, nonEmpty, parseCommand } from '../../config/flags.ts';
import { repeatable } from '../../config/flags-without-effect.ts';
import { type MassLossFlags, massLossLimits, massLossOptions } from '../../config/mass-loss-flags.ts';
import { storeConfig, storeOptions, storeVariables } from '../../config/store-flags.ts';
import { UsageError } from '../../lib/errors.ts';
import { parseEventKind } from '../../record/cloud-event.ts';
import { EVENT_KINDS, type EventKind } from '../../record/events.ts';
import { parseFilter } from '../../record/filter.ts';
import { parseRevision } from '../../registry/event-source.ts';
import type { CliContext, ReadFlags } from '../context.ts';
import type { WatchConfig } from './handler.ts';

interface WatchFlags extends ReadFlags, MassLossFlags, FilterFlags {
  readonly since?: string;
  readonly types?: ReadonlySet<EventKind>;
  readonly exec?: readonly [string, ...string[]];
  readonly execTimeout: number;
  readonly execRetries: number;
  readonly cursor?: string;
}

const DAY_MS = 86_400_000;

const HELP = `
Prints CloudEvents, one JSON line each: first the current roll (a snapshot, then
rollcall.roll.synced), then each change. With --exec the watch prints no events:
the command runs once for each event, also for those of the snapshot (where
_SNAPSHOT is true; --types chooses), in order and one at a time, without a
shell, with the event on its stdin and in ROLLCALL_EVENT_TYPE, _ID, _REVISION,
_SNAPSHOT, _INSTANCE_ID, _CLUSTER, _IP, _ARN, _HEALTH, _PRESENCE and _CAUSE
(empty if there is no value). Exit status 0 finishes the event; after any other,
or a timeout, the command runs again. With --cursor, the next watch repeats
events that were not finished.

Examples:
  rollcall watch --store etcd://127.0.0.1:2379
  rollcall watch --types lost,departed | jq -r '.type + " " + .subject'
  rollcall watch --since 1234 --cluster demo
  rollcall watch --types interruption --exec '/usr/local/bin/drain --quiet' \\
    --cursor /var/lib/rollcall/drain.cursor
  rollcall watch --types lost \\
    --exec 'sh -c "logger -t rollcall lost $ROLLCALL_EVENT_INSTANCE_ID"'`;

export function watchCommand(context: CliContext): Command {
  const command = new Command('watch')
    .description('Print each change of the roll as an event, or run a command for each event.')
    .addOption(
      new Option('--since <revision>', 'only events after this store revision; default: start with a snapshot')
        .env('ROLLCALL_SINCE')
        .argParser(sinceRevision),
    )
    .addOption(
      repeatable(
        new Option('--types <names>', `only these events, repeatable, or comma-separated: ${EVENT_KINDS.join(', ')}`)
          .env('ROLLCALL_TYPES')
          .argParser(eventKinds),
      ),
    )
    .addOption(new Option('--exec <command>', 'run this for each event').env('ROLLCALL_EXEC').argParser(parseCommand))
    .addOption(
      new Option('--exec-timeout <duration>', 'kill the command and its child processes after this time')
        .env('ROLLCALL_EXEC_TIMEOUT')
        .default(30_000, '30s')
        .argParser(durationBetween(100, DAY_MS)),
    )
    .addOption(
      new Option('--exec-retries <n>', 'number of retries before the event is given up')
        .env('ROLLCALL_EXEC_RETRIES')
        .default(5)
        .argParser(integerBetween(0, 1_000)),
    )
    .addOption(
      new Option('--cursor <file>', 'save the last finished event in this file, and continue after it when restarted')
        .env('ROLLCALL_CURSOR')
        .argParser(nonEmpty),
    )
    .addHelpText('after', HELP);
  for (const option of [...filterOptions(), ...massLossOptions(), ...storeOptions(), logLevelOption()])
    command.addOption(option);
  return command.action(async (flags: WatchFlags) => {
    const config = watchConfig(flags);
    // Loaded here, because only this command needs it.
    const { runWatch } = await import('./run-watch.ts');
    await runWatch(config, context);
  });
}

/** @throws UsageError */
function watchConfig(flags: WatchFlags): WatchConfig {
  if (flags.since !== undefined && flags.cursor !== undefined) {
    throw new UsageError(`--since ${flags.since} and --cursor ${flags.cursor} exclude each other; remove one of them`);
  }
  return {
    store: storeConfig(flags),
    since: flags.since ?? null,
    filter: {
      kinds: flags.types ?? null,
      nodes: parseFilter(flags),
    },
    handler:
      flags.exec === undefined
        ? null
        : {
            argv: flags.exec,
            timeoutMs: flags.execTimeout,
            retries: flags.execRetries,
            // So that a handler that reads the roll uses the same store, also if a flag names it.
            storeVariables: storeVariables(flags),
          },
    cursorFile: flags.cursor ?? null,
    massLoss: massLossLimits(flags),
    logLevel: flags.logLevel,
  };
}

function sinceRevision(text: string): string {
  const parsed = parseRevision(text);
  if (parsed === undefined) {
    throw new InvalidArgumentError(
      'It must be a store revision, such as "revision" in an event: a whole number from 0 to 9223372036854775807.',
    );
  }
  return parsed;
}

function eventKinds(text: string, previous: ReadonlySet<EventKind> = new Set()): ReadonlySet<EventKind> {
  const kinds = text.split(',').map((name) => {
    const kind = parseEventKind(name.trim());
    if (!kind) throw new InvalidArgumentError(`unknown event type "${name}"; use one of ${EVENT_KINDS.join(', ')}.`);
    return kind;
  });
  return new Set([...previous, ...kinds]);
}
