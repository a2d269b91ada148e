import { Option } from 'commander';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export function logLevelOption(): Option {
  return new Option('--log-level <level>', 'least severe log lines and warnings written to stderr')
    .env('ROLLCALL_LOG_LEVEL')
    .default('info')
    .choices([...LOG_LEVELS]);
}

/** Whether something as severe as `severity` is written at `level`. */
export function isLogged(level: LogLevel, severity: LogLevel): boolean {
  return LOG_LEVELS.indexOf(severity) >= LOG_LEVELS.indexOf(level);
}
