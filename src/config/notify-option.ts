import { Option } from 'commander';

export type NotifyHow = 'auto' | 'stdout' | 'off';

export function notifyOption(): Option {
  return new Option(
    '--notify <how>',
    'tell systemd how it goes: auto calls systemd-notify where NOTIFY_SOCKET is set; stdout prints what the unit’s shell hands on, for containers',
  )
    .env('ROLLCALL_NOTIFY')
    .default('auto')
    .choices(['auto', 'stdout', 'off']);
}

export interface NotifyConfig {
  readonly by: 'program' | 'stdout';
  /** null where nobody watches. */
  readonly watchdogMs: number | null;
}

/** null where nobody wants to be told. What systemd set is taken as it is: nobody has to repeat it in a flag. */
export function notifyConfig(how: NotifyHow, env: Readonly<Record<string, string | undefined>>): NotifyConfig | null {
  if (how === 'off' || (how === 'auto' && !env['NOTIFY_SOCKET'])) return null;
  // WATCHDOG_PID names the unit's main process, which a container's client or a wrapper may be: it is not asked.
  const watchdogUs = /^[1-9]\d{0,15}$/.test(env['WATCHDOG_USEC'] ?? '') ? Number(env['WATCHDOG_USEC']) : null;
  return { by: how === 'stdout' ? 'stdout' : 'program', watchdogMs: watchdogUs === null ? null : watchdogUs / 1_000 };
}
