import { createJsonLog, type Log } from '../../src/lib/log.ts';

export const silentLog: Log = createJsonLog({ isLogged: () => false, wallMs: () => 0, write: () => {} });

/** A log of all severities whose lines `take` gets, parsed. */
export function keptLog<T = { readonly msg: string }>(take: (line: T) => void): Log {
  return createJsonLog({ isLogged: () => true, wallMs: Date.now, write: (line) => take(JSON.parse(line)) });
}
