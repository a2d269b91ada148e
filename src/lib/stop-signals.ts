import { readFileSync } from 'node:fs';
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
 * Which of these signals came before this program's first line and was lost; pure. The kernel gives process 1, which the
 * agent is in its container, no default action: a signal without a handler does not end it. Node handles SIGTERM and SIGINT
 * from its own first milliseconds, by resetting the handler and raising the signal again: so a missing handler of Node shows
 * that the signal came.
 * @param status the text of /proc/self/status, proc(5), read before a handler of this program is installed
 */
export function lostAtStart(pid: number, status: string): StopSignal | null {
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (pid !== 1 || caught === undefined) return null;
  const isCaught = (signal: StopSignal) => (BigInt(`0x${caught}`) >> BigInt(constants.signals[signal] - 1)) & 1n;
  return (['SIGTERM', 'SIGINT'] as const).find((signal) => !isCaught(signal)) ?? null;
}

// At once when this file loads: what the program imports after it takes most of the time of a start.
let status = '';
try {
  if (process.pid === 1) status = readFileSync('/proc/self/status', 'latin1');
} catch {
  // Without /proc it is not known, and the sender has to send the signal again.
}
for (const signal of STOP_SIGNALS) process.on(signal, () => stopAs(signal));
first = lostAtStart(process.pid, status);
