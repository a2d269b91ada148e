import pino, { type Logger } from 'pino';
import type { LogLevel } from '../config/log-level.ts';

/**
 * JSON lines on stderr, which journald keeps with the unit. Written synchronously: an agent that logs a few lines a
 * day gains nothing from a buffer, and one that ends must not lose its last line.
 */
export function createLog(level: LogLevel): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
