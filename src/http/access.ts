import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../lib/clock.ts';
import { describeError, RollcallError } from '../lib/errors.ts';
import { isLoopback, problem, type Reply } from './reply.ts';

/** The files that keep an agent's port from being open to everyone; null: not used. */
export interface AccessFiles {
  /** PEM of the server's certificate, with its chain, and of its key: both or none. Without them the port speaks HTTP. */
  readonly certFile: string | null;
  readonly keyFile: string | null;
  /** PEM of the authorities whose client certificates are let in; needs a server certificate. */
  readonly clientCaFile: string | null;
  /** The tokens that are let in, one a line: two while one replaces the other. */
  readonly tokenFile: string | null;
}

export const NO_ACCESS_FILES: AccessFiles = { certFile: null, keyFile: null, clientCaFile: null, tokenFile: null };

/** What `tls.createSecureContext` takes. */
interface ServerPems {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca?: Buffer;
}

interface AccessChanges {
  /** There are new certificates. */
  renewed(pems: ServerPems): void;
  /** What let clients in no longer does: a token, which each request brings, or an authority, which was asked in the handshake. */
  revoked(what: 'token' | 'authority'): void;
}

export interface Access {
  /** Now; null: the port speaks HTTP. */
  tls(): ServerPems | null;
  /** The answer to a request that is not let in; null: it is. */
  refuse(req: IncomingMessage, path: string): Reply | null;
  /**
   * Reads the files anew every 5 s until `signal` aborts. What cannot be used is reported once and changes nothing; the others
   * count all the same.
   */
  follow(on: AccessChanges, onError: (error: unknown) => void, signal: AbortSignal): Promise<void>;
}

/** One line about a port that every host of the network can read; null: it is not one. */
export function describeOpenPort(
  { host, port }: { readonly host: string; readonly port: number },
  { clientCaFile, tokenFile }: AccessFiles,
): string | null {
  if (isLoopback(host) || clientCaFile !== null || tokenFile !== null) return null;
  const address = host === '::' ? `all addresses, port ${port}` : `${host}:${port}`;
  return `this agent listens on ${address} and asks for no token: everything that reaches the port can read the roll; set --listen-token-file or --listen-client-ca-file`;
}

/** Liveness is for programs that have no token: container health checks and load balancers. It says nothing of the roll. */
const OPEN_PATH = '/healthz';
/** The page of the board, which has no data in it and asks for the token. */
const PAGE_PATH = '/';

const REREAD_MS = 5_000;
const MIN_TOKEN_CHARS = 16;

/** @returns null where no file is set: there is nothing to check or to read anew @throws RollcallError for a file that cannot be used */
export async function openAccess(files: AccessFiles, clock: Pick<Clock, 'sleep'>): Promise<Access | null> {
  if (Object.values(files).every((path) => path === null)) return null;
  const { createSecureContext } = await import('node:tls');
  const readPair = async (ca: Buffer | null) => {
    const pair = await loadPair(files);
    if (pair === null) return null;
    const pems: ServerPems = { ...pair, ...(ca && { ca }) };
    try {
      createSecureContext(pems);
    } catch (error) {
      throw new RollcallError(`listen: ${files.certFile} and ${files.keyFile} cannot be used: ${describeError(error)}`);
    }
    return pems;
  };
  const readTokens = async () => (files.tokenFile === null ? null : loadTokens(files.tokenFile));
  let tls = await readPair(await loadAuthority(files));
  /** SHA-256 of each token; null: none is needed. */
  let tokens = await readTokens();

  return {
    tls: () => tls,

    refuse(req, path) {
      if (path === OPEN_PATH) return null;
      if (files.clientCaFile !== null && !(req.socket as TLSSocket).authorized) {
        const detail = 'a client certificate is needed that the authority of this agent has signed';
        return problem(403, detail, { instance: path });
      }
      if (tokens === null || path === PAGE_PATH || hasToken(req, tokens)) return null;
      const detail = req.headers.authorization
        ? 'this token is not known; send one of the agent’s --listen-token-file'
        : 'a token is needed; send one of the agent’s --listen-token-file as "Authorization: Bearer TOKEN"';
      return problem(401, detail, { instance: path, headers: { 'WWW-Authenticate': 'Bearer realm="rollcall"' } });
    },

    async follow(on, onError, signal) {
      // Each apart: a certificate that cannot be used must not keep a token in that was removed.
      const parts = [
        async () => {
          const before = tokens;
          tokens = await readTokens();
          if (before?.some((token) => !tokens?.some((other) => other.equals(token)))) on.revoked('token');
        },
        async () => {
          const ca = await loadAuthority(files);
          if (tls === null || sameBytes(ca ?? undefined, tls.ca)) return;
          const next = { ...tls, ...(ca && { ca }) };
          on.renewed(next);
          tls = next;
          on.revoked('authority');
        },
        async () => {
          const next = await readPair(tls?.ca ?? null);
          if (next === null || samePair(next, tls)) return;
          on.renewed(next);
          tls = next;
        },
      ].map((read) => reportingOnce(read, onError));
      for (;;) {
        await clock.sleep(REREAD_MS, signal).catch(() => {}); // an abort is handled in the next line
        if (signal.aborted) return;
        for (const read of parts) await read();
      }
    },
  };
}

/** Reports an error where the last call had none, or another. */
function reportingOnce(read: () => Promise<void>, onError: (error: unknown) => void): () => Promise<void> {
  let last: string | null = null;
  return async () => {
    try {
      await read();
      last = null;
    } catch (error) {
      const text = describeError(error);
      if (text !== last) onError(error);
      last = text;
    }
  };
}

async function loadPair({ certFile, keyFile }: AccessFiles): Promise<ServerPems | null> {
  if (certFile === null || keyFile === null) return null;
  const [cert, key] = await Promise.all([readListenFile('certificate', certFile), readListenFile('key', keyFile)]);
  return { cert, key };
}

async function loadAuthority({ clientCaFile }: AccessFiles): Promise<Buffer | null> {
  if (clientCaFile === null) return null;
  const ca = await readListenFile('client CA', clientCaFile);
  try {
    new X509Certificate(ca);
    return ca;
  } catch (error) {
    throw new RollcallError(`listen: the client CA file ${clientCaFile} has no certificate: ${describeError(error)}`);
  }
}

async function loadTokens(path: string): Promise<readonly Buffer[]> {
  const tokens = (await readListenFile('token', path)).toString('utf8').split(/\s+/).filter(Boolean);
  const short = tokens.find((token) => token.length < MIN_TOKEN_CHARS);
  if (tokens.length === 0 || short !== undefined) {
    const found = tokens.length === 0 ? 'holds no token' : `holds a token of ${short?.length} characters`;
    throw new RollcallError(
      `listen: the token file ${path} ${found}; at least ${MIN_TOKEN_CHARS} are needed, such as of: openssl rand -hex 24`,
    );
  }
  return tokens.map(digestOf);
}

async function readListenFile(what: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new RollcallError(`listen: cannot read the ${what} file ${path}: ${describeError(error)}`);
  }
}

function samePair(one: ServerPems, other: ServerPems | null): boolean {
  return sameBytes(one.cert, other?.cert) && sameBytes(one.key, other?.key);
}

function sameBytes(one?: Buffer, other?: Buffer): boolean {
  return one && other ? one.equals(other) : one === other;
}

function hasToken({ headers }: IncomingMessage, tokens: readonly Buffer[]): boolean {
  const sent = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  if (sent === undefined) return false;
  const digest = digestOf(sent);
  // Each is compared, so that the time says nothing.
  return tokens.filter((token) => timingSafeEqual(token, digest)).length > 0;
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
