import { abortable } from '../../lib/abort.ts';
import { UsageError } from '../../lib/errors.ts';
import { findProgram } from '../../lib/find-program.ts';
import type { CloudEvent } from '../../record/cloud-event.ts';
import type { CliContext } from '../context.ts';
import { terminalLine } from './event-line.ts';
import { handleEvent } from './handler.ts';
import type { HandlerConfig, WatchConfig, WatchDeps } from './watch-config.ts';

/** Where the events of a watch go. */
export interface WatchOutput {
  /** Resolves when the events are finished. Rejects where they cannot be: they are then sent again by the next watch. */
  deliver(events: readonly CloudEvent[]): Promise<void>;
  close(): Promise<void>;
}

/** @throws UsageError for a command or a secret that is not there */
export async function openOutput(config: WatchConfig, context: CliContext, deps: WatchDeps): Promise<WatchOutput> {
  const { handler, webhook } = config;
  const close = async () => {};
  if (handler) {
    requireProgram(handler, deps.env['PATH']);
    const deliver = async (events: readonly CloudEvent[]) => {
      for (const event of events) await handleEvent(event, handler, deps);
    };
    return { deliver, close };
  }
  if (webhook) {
    const { openWebhook } = await import('./webhook.ts');
    const opened = openWebhook(webhook, deps);
    const deliver = async (events: readonly CloudEvent[]) => {
      for (const event of events) await opened.send(event);
    };
    return { deliver, close: opened.close };
  }
  return { deliver: config.output === 'json' ? printJson(context) : printLines(context), close };
}

/** JSON lines, one write per batch; resolves when the reader has taken it. */
function printJson({ stdout, signal }: CliContext): WatchOutput['deliver'] {
  return (events) => abortable(stdout(events.map((event) => `${JSON.stringify(event)}\n`).join('')), signal);
}

/** Lines for people, in the time of this machine. */
function printLines({ clock, stdout, terminal, signal }: CliContext): WatchOutput['deliver'] {
  // An agent sends the beginning of an earlier reader, with its time, while nothing changed since.
  const instantOf = ({ type, time }: CloudEvent) => (type === 'rollcall.roll.synced' ? clock.wallMs() : time);
  return async (events) => {
    const pieces = events.flatMap((event) =>
      terminalLine(event, new Date(instantOf(event)).toTimeString().slice(0, 8)),
    );
    if (pieces.length === 0) return;
    const written = terminal ? terminal.write(pieces) : stdout(pieces.map(({ text }) => text).join(''));
    await abortable(written, signal);
  };
}

function requireProgram({ argv: [program] }: HandlerConfig, path: string | undefined): void {
  if (findProgram(program, path) !== null) return;
  const where = program.includes('/')
    ? 'no executable file at this path'
    : `no such program on PATH (${path ?? 'not set'})`;
  throw new UsageError(`--exec ${program}: ${where}; use the path of an executable file`);
}
