import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Clock } from '../timing/clock.ts';
import { withDeadline } from '../timing/with-deadline.ts';

const PROGRAM = 'systemd-notify';
const LIMIT_MS = 5_000;

/**
 * Tells the service manager by its own program: Node has no Unix datagram sockets. The unit has to say
 * NotifyAccess=all, since the sender is our child.
 */
export function notifyByProgram(
  clock: Clock,
  program = PROGRAM,
): (assignments: readonly string[], signal: AbortSignal) => Promise<void> {
  return (assignments, signal) =>
    withDeadline(clock, LIMIT_MS, signal, program, async (inner) => {
      await promisify(execFile)(program, [...assignments], { signal: inner, killSignal: 'SIGKILL' });
    });
}
