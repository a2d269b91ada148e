import { Command, InvalidArgumentError, Option } from 'commander';
import { type FilterFlags, filterOptions } from '../../config/filter-flags.ts';
import { durationBetween, integerBetween, logLevelOption, nonEmpty, parseCommand } from '../../config/flags.ts';
import { repeatable } from '../../config/flags-without-effect.ts';
import { type MassLossFlags, massLossLimits, massLossOptions } from '../../config/mass-loss-flags.ts';
import {
  agentAccess,
  agentReadOptions,
  sourceVariables,
  storeConfig,
  storeOptions,
  timeoutOption,
} from '../../config/store-flags.ts';
import { UsageError } from '../../lib/errors.ts';
import { parseEventKind } from '../../record/cloud-event.ts';
import { EVENT_KINDS, type EventKind } from '../../record/events.ts';
import { FILTER_NAMES, parseFilter } from '../../record/filter.ts';
import { parseRevision } from '../../registry/event-source.ts';
import type { CliContext, ReadFlags } from '../context.ts';
import type { WatchConfig } from './watch-config.ts';

interface WatchFlags extends ReadFlags, MassLossFlags, FilterFlags {
  readonly since?: string;
  readonly types?: ReadonlySet<EventKind>;
  readonly exec?: readonly [string, ...string[]];
  readonly execTimeout: number;
  readonly execRetries: number;
  readonly http?: string;
  readonly httpTimeout: number;
  readonly httpRetries: number;
  readonly httpSecretFile?: string;
  readonly output?: 'text' | 'wide' | 'json' | 'ndjson';
  readonly cursor?: string;
  readonly hold?: 'on' | 'off';
}

const DAY_MS = 86_400_000;

const HELP = `
First the current roll (a snapshot, then rollcall.roll.synced), then changes.
On a terminal an event is a line; the snapshot is one line. In a pipe, and with
-o ndjson, it is a CloudEvent, one JSON line each.

With --exec the command runs once for each event, also for those of the snapshot
(where _SNAPSHOT is true; --types chooses), in order and one at a time, without
a shell, with the event on its stdin and in ROLLCALL_EVENT_TYPE, _ID, _REVISION,
_SNAPSHOT, _INSTANCE_ID, _CLUSTER, _IP, _ARN, _HEALTH, _PRESENCE, _CAUSE,
_UNCERTAIN, and of the audit _DIFFERENCE and _REASON (empty if there is no
value). Exit status 0 finishes the event; after any other, or a timeout, the
command runs again. With --cursor, the next watch repeats events that were not
finished.

When many nodes vanish at once, the store or the network may have failed, and
not the nodes. The watch then prints rollcall.roll.uncertain, each lost event at
once with data.uncertain, and rollcall.roll.certain a TTL later. With --exec and
--http it holds these lost events back: it sends the loss of a node only after
certain, and not if the node has returned. --hold off: it sends it at once, with
data.uncertain (_UNCERTAIN) true.

With --http each event is POSTed as a CloudEvent in structured mode, in order
and one at a time. 2xx finishes it; 4xx gives it up, but 408, 425 and 429, which
are tried again as 5xx and no answer are, after Retry-After. When the retries
are used up, or the URL redirects, the watch ends, the event not finished. With
--http-secret-file it has the headers of Standard Webhooks: webhook-id,
webhook-timestamp, and webhook-signature, the HMAC-SHA256.

Examples:
  rollcall watch --store etcd://127.0.0.1:2379
  rollcall watch --agent http://10.113.0.22:51690 --cluster demo
  rollcall watch --types lost,departed | jq -r '.type + " " + .subject'
  rollcall watch --since 1234 -o ndjson
  rollcall watch --types interruption --exec '/usr/local/bin/drain --quiet' \\
    --cursor /var/lib/rollcall/drain.cursor
  rollcall watch --types lost \\
    --exec 'sh -c "logger -t rollcall lost $ROLLCALL_EVENT_INSTANCE_ID"'
  rollcall watch --types lost,departed --http https://hooks.example.com/nodes \\
    --http-secret-file /etc/rollcall/hook.key --cursor /var/lib/rollcall/hook`;

export function watchCommand(context: CliContext): Command {
  const command = new Command('watch')
    .description('Print each change of the roll as an event, run a command for it, or send it to a webhook.')
    .addOption(
      new Option('-o, --output <format>', 'text: a line for people; ndjson: CloudEvents; default: by the terminal')
        .env('ROLLCALL_OUTPUT')
        .choices(['text', 'ndjson', 'json', 'wide']),
    )
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
    .addOption(new Option('--http <url>', 'POST each event to this webhook').env('ROLLCALL_HTTP').argParser(webhookUrl))
    .addOption(
      new Option('--http-timeout <duration>', 'how long one attempt may take')
        .env('ROLLCALL_HTTP_TIMEOUT')
        .default(30_000, '30s')
        .argParser(durationBetween(100, 300_000)),
    )
    .addOption(
      new Option('--http-retries <n>', 'number of retries before the watch ends')
        .env('ROLLCALL_HTTP_RETRIES')
        .default(5)
        .argParser(integerBetween(0, 1_000)),
    )
    .addOption(
      new Option('--http-secret-file <path>', 'file with the key that signs each event')
        .env('ROLLCALL_HTTP_SECRET_FILE')
        .argParser(nonEmpty),
    )
    .addOption(
      new Option('--cursor <file>', 'save the last finished event in this file, and continue after it when restarted')
        .env('ROLLCALL_CURSOR')
        .argParser(nonEmpty),
    )
    .addOption(
      new Option(
        '--hold <on|off>',
        'of many losses at once, send none before it is certain; default: on with --exec and --http',
      )
        .env('ROLLCALL_HOLD')
        .choices(['on', 'off']),
    )
    .addHelpText('after', HELP);
  for (const option of [
    ...filterOptions(),
    ...massLossOptions(),
    ...agentReadOptions(),
    ...storeOptions(),
    timeoutOption(),
    logLevelOption(),
  ])
    command.addOption(option);
  return command.action(async (flags: WatchFlags) => {
    const config = watchConfig(flags, context.terminal !== undefined);
    // Loaded here, because only this command needs it.
    const { runWatch } = await import('./run-watch.ts');
    await runWatch(config, context);
  });
}

/** @throws UsageError */
function watchConfig(flags: WatchFlags, onTerminal: boolean): WatchConfig {
  if (flags.exec !== undefined && flags.http !== undefined) {
    throw new UsageError('--exec and --http exclude each other; start a watch for each');
  }
  if (flags.since !== undefined && flags.cursor !== undefined) {
    throw new UsageError(`--since ${flags.since} and --cursor ${flags.cursor} exclude each other; remove one of them`);
  }
  return {
    store: storeConfig(flags),
    agent: flags.agent ?? null,
    access: agentAccess(flags),
    output: outputOf(flags.output, onTerminal),
    webhook:
      flags.http === undefined
        ? null
        : {
            url: flags.http,
            timeoutMs: flags.httpTimeout,
            retries: flags.httpRetries,
            secretFile: flags.httpSecretFile ?? null,
          },
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
            // So that a handler that reads the roll uses the same source, also if a flag names it.
            storeVariables: sourceVariables(flags),
          },
    filterTexts: Object.fromEntries(FILTER_NAMES.flatMap((name) => (flags[name] ? [[name, flags[name]]] : []))),
    cursorFile: flags.cursor ?? null,
    hold: (flags.hold ?? (flags.exec === undefined && flags.http === undefined ? 'off' : 'on')) === 'on',
    massLoss: massLossLimits(flags),
    logLevel: flags.logLevel,
  };
}

function outputOf(format: WatchFlags['output'], onTerminal: boolean): WatchConfig['output'] {
  if (format === undefined) return onTerminal ? 'text' : 'json';
  // The formats of a list, so that one ROLLCALL_OUTPUT works for all commands.
  return format === 'text' || format === 'wide' ? 'text' : 'json';
}

function webhookUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const hasUser = url !== null && (url.username !== '' || url.password !== '');
  if (url !== null && /^https?:$/.test(url.protocol) && !hasUser && url.hash === '') return url.href;
  throw new InvalidArgumentError('Write a URL such as https://hooks.example.com/nodes, without a user or password.');
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
