import { constants } from 'node:os';
import { runProgram } from './cli/program.ts';
import { systemClock } from './lib/clock.ts';
import { describeError } from './lib/errors.ts';

/** Put in by the bundler; a run from the sources has no version of its own. */
declare const ROLLCALL_VERSION: string | undefined;

const abort = new AbortController();
/** What a command that leaves in good order wants to be told; it ends by itself soon after, so later signals are nothing new. */
let stopListener: (() => void) | null = null;
let endedBy: NodeJS.Signals | null = null;

const onSignal = (name: NodeJS.Signals) => {
  if (stopListener) stopListener();
  else abort.abort(new Error(`ended by ${name}`));
  endedBy ??= name;
};
process.on('SIGTERM', onSignal);
process.on('SIGINT', onSignal);
process.on('SIGHUP', onSignal);
// Only an agent that `simulate --agents` started has a parent that it should not outlive.
if (process.connected) process.on('disconnect', () => onSignal('SIGHUP'));

// Of an audit 0 and 1 are answers; one that broke off has given none.
const isAudit = process.argv[2] === 'audit';
const broken = isAudit ? 2 : 1;

// A reader that has seen enough (`rollcall list | head -1`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(isAudit ? 2 : 0);
  process.stderr.write(`rollcall: cannot write to stdout: ${describeError(error)}
`);
  process.exit(broken);
});
process.stderr.on('error', () => {});

// What nobody caught is a defect: one line for the journal, and the unit starts us again.
process.on('uncaughtException', (error) => {
  process.stderr.write(`rollcall: internal error: ${describeError(error)}\n`);
  process.exit(broken);
});

// An environment file often names a variable without a value: that is the same as not naming it.
for (const [name, value] of Object.entries(process.env)) {
  if (/^(ROLLCALL|AWS)_/.test(name) && value === '') delete process.env[name];
}

void runProgram(process.argv.slice(2), {
  env: process.env,
  version: typeof ROLLCALL_VERSION === 'string' ? ROLLCALL_VERSION : 'from-sources',
  clock: systemClock,
  random: Math.random,
  stdout: (text) => new Promise((resolve) => process.stdout.write(text, () => resolve())),
  stderr: (line) => process.stderr.write(`${line}\n`),
  onStopSignal: (listener) => {
    stopListener = listener;
  },
  signal: abort.signal,
  self: [...process.execArgv, process.argv[1] ?? ''],
}).then((status) => {
  // Nothing may keep a finished command alive, neither a socket nor a timer that was forgotten.
  // What a shell and systemd expect of a program that a signal cut short.
  process.exit(abort.signal.aborted && endedBy ? 128 + constants.signals[endedBy] : status);
});
