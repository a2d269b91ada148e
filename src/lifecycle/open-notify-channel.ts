import type { NotifyConfig } from '../config/notify-option.ts';
import type { Clock } from '../timing/clock.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { notifyByProgram } from './notify-by-program.ts';
import type { NotifyChannel } from './run-notifier.ts';

export interface NotifyEnvironment {
  readonly clock: Clock;
  readonly stdout: (text: string) => Promise<void>;
}

/** The way to the service manager that the configuration asks for; null where there is none. */
export function openNotifyChannel(config: NotifyConfig | null, environment: NotifyEnvironment): NotifyChannel | null {
  if (!config) return null;
  const { watchdogMs } = config;
  if (config.by === 'program') return { watchdogMs, send: notifyByProgram(environment.clock) };
  // Out of a container no datagram reaches systemd in the unit's name, but stdout reaches the unit's own shell. One that
  // does not read is waited for, lest what it missed piles up; where systemd watches us, it does not wait for long.
  const send = (assignments: readonly string[], signal: AbortSignal) =>
    unlessAborted(environment.stdout(assignments.map((one) => `${one}\n`).join('')), signal);
  return { watchdogMs, send };
}
