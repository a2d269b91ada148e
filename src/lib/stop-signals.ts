import { closeSync, openSync, readSync } from 'node:fs';
import { constants } from 'node:os';

/**
 * What ends the program in order. SIGUSR2 says the same as SIGTERM and that the agent will be started again: the unit
 * sends it during `systemctl restart`.
 */
export const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2'] as const;
export type StopSignal = (typeof STOP_SIGNALS)[number];

let first: StopSignal | null = null;
const listeners = new Set<(signal: StopSignal) => void>();

/** The first stop signal of this process; null: none yet. */
export function firstStopSignal(): StopSignal | null {
  return first;
}

/** Calls `listener` at each stop signal that comes from now on. */
export function onStopSignal(listener: (signal: StopSignal) => void): void {
  listeners.add(listener);
}

/** Counts as a stop signal: called for what has the same meaning, such as a parent process that ended. */
export function stopAs(signal: StopSignal): void {
  first ??= signal;
  for (const listener of listeners) listener(signal);
}

/**
 * Whether this signal came before this program's first line and was lost; pure. The kernel gives process 1, which the agent
 * is in its container, no default action: a signal without a handler does not end it. Node handles SIGTERM and SIGINT from
 * its own first milliseconds, by resetting the handler and raising the signal again: so a missing handler of Node shows
 * that the signal came.
 * @param status the text of /proc/self/status, proc(5), read before a handler of this program for the signal is installed
 */
export function wasLostAtStart(pid: number, signal: 'SIGTERM' | 'SIGINT', status: string): boolean {
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (pid !== 1 || caught === undefined) return false;
  return ((BigInt(`0x${caught}`) >> BigInt(constants.signals[signal] - 1)) & 1n) === 0n;
}

// At once when this file loads: what the program imports after it takes most of the time of a start.
const handle = (signal: StopSignal) => process.on(signal, () => stopAs(signal));
handle('SIGHUP');
handle('SIGUSR2');
// A signal between the look at Node's handler and the installation of ours would be lost without a trace. So each look is
// one system call, right before the installation, when all code on the way has run once: 30 µs instead of half a millisecond.
const status = Buffer.alloc(8192);
let statusFile: number | null = null;
try {
  if (process.pid === 1) {
    statusFile = openSync('/proc/self/status', 'r');
    readSync(statusFile, status, 0, status.length, 0);
  }
} catch {
  // Without /proc it is not known, and the sender has to send the signal again.
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  const length = statusFile === null ? 0 : readSync(statusFile, status, 0, status.length, 0);
  handle(signal);
  if (wasLostAtStart(process.pid, signal, status.toString('latin1', 0, length))) first ??= signal;
}
if (statusFile !== null) closeSync(statusFile);
