import { existsSync } from 'node:fs';

const DEATH_WATCH = '/usr/bin/setpriv';

/**
 * The command as one that the kernel ends when this process dies: an interrupted test runs no handlers of its own.
 * setpriv becomes the command, so that its pid stays.
 */
export function diesWithParent(
  signal: 'KILL' | 'TERM',
  file: string,
  args: readonly string[],
): [file: string, args: string[]] {
  return existsSync(DEATH_WATCH) ? [DEATH_WATCH, [`--pdeathsig=${signal}`, file, ...args]] : [file, [...args]];
}
