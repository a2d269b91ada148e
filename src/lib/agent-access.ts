import { readFile } from 'node:fs/promises';
import { describeError, RollcallError } from './errors.ts';
import { type HttpPool, openHttpPool } from './http-client.ts';

/** How a client gets into an agent that is not open to everyone. Files are read anew for each request. */
export interface AgentAccess {
  /** PEM of the authority of the agent's certificate; null: the authorities that Node knows. */
  readonly caFile: string | null;
  /** PEM of a client certificate and its key: both or none. */
  readonly certFile: string | null;
  readonly keyFile: string | null;
  readonly token: string | null;
  /** File with the token, in place of `token`. */
  readonly tokenFile: string | null;
}

export const OPEN_ACCESS: AgentAccess = { caFile: null, certFile: null, keyFile: null, token: null, tokenFile: null };

interface AgentPoolOptions {
  readonly connections: number;
  /** Limit of the TCP and TLS handshakes together. */
  readonly connectTimeoutMs: number;
}

/** `openHttpPool` for an agent, over TLS for an `https:` origin. */
export function openAgentPool(origin: string, access: AgentAccess, options: AgentPoolOptions): HttpPool {
  return openHttpPool(origin, { ...options, tls: () => readPems(access) });
}

/** The header that carries the token; none without one. @throws RollcallError when the file cannot be read */
export async function authorization({ token, tokenFile }: AgentAccess): Promise<Record<string, string>> {
  const text = tokenFile === null ? token : (await readAccessFile('token', tokenFile)).toString('utf8').trim();
  if (text === null) return {};
  // Several tokens may stand in the file of an agent, the newest first.
  return { authorization: `Bearer ${text.split(/\s+/, 1)[0] ?? ''}` };
}

async function readPems({ caFile, certFile, keyFile }: AgentAccess) {
  const [ca, cert, key] = await Promise.all([
    caFile === null ? null : readAccessFile('CA', caFile),
    certFile === null ? null : readAccessFile('client certificate', certFile),
    keyFile === null ? null : readAccessFile('client key', keyFile),
  ]);
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

async function readAccessFile(what: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new RollcallError(`cannot read the ${what} file ${path}: ${describeError(error)}`, { cause: error });
  }
}
