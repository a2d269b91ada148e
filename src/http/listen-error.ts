import { describeError, RollcallError } from '../errors.ts';

const NEXT_STEP = 'choose another with --listen HOST:PORT';

const CAUSES: Readonly<Record<string, string>> = {
  EADDRINUSE: `the port is in use; stop the program that has it, or ${NEXT_STEP}`,
  EACCES: `not permitted; ports below 1024 need privileges, ${NEXT_STEP}`,
  EADDRNOTAVAIL: `this machine has no such address; ${NEXT_STEP}`,
  ENOTFOUND: `no address is known for this name; ${NEXT_STEP}`,
  EAI_AGAIN: `the name could not be resolved; ${NEXT_STEP}`,
};

/** What kept a server from listening, in one line. @param address as in `127.0.0.1:51690` */
export function listenError(address: string, error: unknown): RollcallError {
  const code = (error as { code?: unknown } | null)?.code;
  const cause = (typeof code === 'string' && CAUSES[code]) || `${describeError(error)}; ${NEXT_STEP}`;
  // No `cause`: it would say the same again in the operating system's words.
  return new RollcallError(`listen on ${address}: ${cause}`);
}
