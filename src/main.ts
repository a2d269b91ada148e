// First: it hears a signal while the rest of the program still loads.
import './lib/stop-signals.ts';

import { constants } from 'node:os';
import { failurePrefix } from './cli/agent-log.ts';
import { runProgram } from './cli/program.ts';
import { openTerminal } from './cli/terminal.ts';
import { systemClock } from './lib/clock.ts';
import { describeError } from './lib/errors.ts';
import { escapeOutput } from './lib/foreign-text.ts';
import { firstStopSignal, onStopSignal, type StopSignal, stopAs } from './lib/stop-signals.ts';

/** Set by the bundler; undefined in a run from the sources. */
declare const ROLLCALL_VERSION: string | undefined;
/** The bundle's folder; undefined in a run from the sources, which are ES modules. */
declare const __dirname: string | undefined;

const abort = new AbortController();
/** Set by a command that shuts down in order (the agent). It then ends by itself, so later signals call it again to no effect. */
let stopListener: ((signal: StopSignal) => void) | null = null;
onStopSignal((signal) => {
  if (stopListener) stopListener(signal);
  else abort.abort(new Error(`ended by ${signal}`));
});
// Only an agent started by `simulate --agents` has an IPC channel; it must end with its parent.
if (process.connected) process.on('disconnect', () => stopAs('SIGHUP'));

// For `audit`, 0 and 1 are results of the comparison, so a failure needs another status.
const isAudit = process.argv[2] === 'audit';
const failureStatus = isAudit ? 2 : 1;
const failure = `${failurePrefix(process.argv.slice(2), process.env)}rollcall:`;

/** These change ECS and the store: they go on to their end, also where what they print is lost. */
const isWriter = ['drain', 'undrain', 'place'].includes(process.argv[2] ?? '');
/** The least status where what was printed is lost. */
let lostStatus = 0;

// If the reader closes the pipe early (`rollcall list | head -1`), that is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  const isClosed = error.code === 'EPIPE';
  if (!isClosed && lostStatus === 0) {
    lostStatus = failureStatus;
    process.stderr.write(`${failure} cannot write to stdout: ${describeError(error)}\n`);
  }
  if (!isWriter) process.exit(isAudit ? 2 : lostStatus);
});
process.stderr.on('error', () => {});

// An uncaught exception is a defect in rollcall: log one line; systemd restarts the agent.
process.on('uncaughtException', (error) => {
  process.stderr.write(`${failure} internal error: ${describeError(error)}\n`);
  process.exit(failureStatus);
});

// Environment files often have `NAME=` without a value; treat it as unset.
for (const [name, value] of Object.entries(process.env)) {
  if (/^(ROLLCALL|AWS)_/.test(name) && value === '') delete process.env[name];
}

/** 128 + signal number is what a shell and systemd expect of a program that a signal ended. */
const stoppedStatus = (signal: StopSignal) => 128 + constants.signals[signal];

async function run(): Promise<number> {
  const early = firstStopSignal();
  if (early !== null) return process.argv[2] === 'agent' ? 0 : stoppedStatus(early);
  const status = await runProgram(process.argv.slice(2), {
    env: process.env,
    version: typeof ROLLCALL_VERSION === 'string' ? ROLLCALL_VERSION : 'from-sources',
    clock: systemClock,
    random: Math.random,
    stdout: (text) => new Promise((resolve) => process.stdout.write(escapeOutput(text), () => resolve())),
    stderr: (line) => process.stderr.write(escapeOutput(`${line}\n`)),
    onStopSignal: (listener) => {
      stopListener = listener;
    },
    signal: abort.signal,
    boardFile: typeof __dirname === 'string' ? `${__dirname}/board.html.gz` : null,
    columns: process.stdout.columns,
    terminal: process.stdout.isTTY ? openTerminal(process.stdout, process.env) : undefined,
    endsSoon: () => void compileLess(),
    residentBytes: () => process.memoryUsage.rss(),
    isProcess1: process.pid === 1,
    self: [process.execPath, ...process.execArgv, process.argv[1] ?? ''],
  });
  const ended = firstStopSignal();
  return abort.signal.aborted && ended !== null ? stoppedStatus(ended) : status;
}

/**
 * V8's slowest compiler would take a fifth of a list's processor time, beside the program, where etcd is at work, too. What
 * it has compiled comes too late: a list of 60,000 nodes is as quick without it. Not before Node's modules are loaded, as in
 * `keepSmall`.
 */
async function compileLess(): Promise<void> {
  (await import('node:v8')).setFlagsFromString('--no-opt');
}

/** Long enough to register; nothing has run often enough by then to be worth compiling again. */
const START_MS = 3_000;

/**
 * An agent is small before it is fast, but for its start. Given on the command line, these flags would make Node compile
 * its own modules at each start: the compiled code that it brings is for the flags it was built with.
 */
async function keepSmall(): Promise<void> {
  await systemClock.sleep(START_MS, abort.signal);
  const [{ flushCompileCache }, { setFlagsFromString }] = await Promise.all([import('node:module'), import('node:v8')]);
  flushCompileCache(); // what is kept after them is of no use to the next start
  setFlagsFromString('--no-opt');
  setFlagsFromString('--no-maglev');
  const { growHeapSlowly, keepHeapSmall, openHeap } = await import('./lib/small-heap.ts');
  growHeapSlowly();
  await keepHeapSmall(openHeap(), systemClock, abort.signal);
}

// It rejects when the agent ends.
if (process.argv[2] === 'agent') void keepSmall().catch(() => {});

// After one turn of the event loop, because only then Node calls the handlers of a signal that came while the program loaded.
// Exits explicitly, so that no open socket or timer keeps a finished command alive.
setImmediate(() => void run().then((status) => process.exit(status || lostStatus)));
