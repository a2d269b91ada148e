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

/**
 * `openHttpPool` for an agent, over TLS for an `https:` origin; each request carries the token.
 * A request rejects with an AccessFileError as well.
 */
export function openAgentPool(origin: string, access: AgentAccess, options: AgentPoolOptions): HttpPool {
  const read = createAccessFiles();
  const pool = openHttpPool(origin, { ...options, tls: () => readPems(access, read) });
  return {
    ...pool,
    async request(request) {
      const headers = { ...request.headers, ...(await authorization(access, read)) };
      return pool.request({ ...request, headers });
    },
  };
}

/** A file of the access is missing, empty, or cannot be read. */
class AccessFileError extends RollcallError {
  override readonly name = 'AccessFileError';
  override readonly retryable: boolean;
  constructor(what: string, { cause, retryable }: { readonly cause: unknown; readonly retryable: boolean }) {
    super(`cannot read ${what}: ${describeError(cause)}`, { cause });
    this.retryable = retryable;
  }
}

type ReadAccessFile = (what: string, path: string) => Promise<Buffer>;

/** One that could be read before may be missing or empty for a moment, while it is replaced: a retry can help. */
function createAccessFiles(): ReadAccessFile {
  const known = new Set<string>();
  return async (what, path) => {
    try {
      const bytes = await readFile(path);
      if (bytes.toString('latin1').trim() === '') throw new Error('it is empty');
      known.add(path);
      return bytes;
    } catch (cause) {
      throw new AccessFileError(`the ${what} file ${path}`, { cause, retryable: known.has(path) });
    }
  };
}

/** The header that carries the token; none without one. */
async function authorization({ token, tokenFile }: AgentAccess, read: ReadAccessFile): Promise<Record<string, string>> {
  const text = tokenFile === null ? token : (await read('token', tokenFile)).toString('utf8').trim();
  if (text === null) return {};
  // Several tokens may stand in the file of an agent, the newest first.
  return { authorization: `Bearer ${text.split(/\s+/, 1)[0] ?? ''}` };
}

async function readPems({ caFile, certFile, keyFile }: AgentAccess, read: ReadAccessFile) {
  const [ca, cert, key] = await Promise.all([
    caFile === null ? null : read('CA', caFile),
    certFile === null ? null : read('client certificate', certFile),
    keyFile === null ? null : read('client key', keyFile),
  ]);
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}
