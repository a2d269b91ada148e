import { isIP, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import { StoreError } from '../store-errors.ts';
import type { EtcdTls } from '../store-url.ts';
import {
  CallCredentials,
  ChannelCredentials,
  type ChannelOptions,
  type GrpcUri,
  postponePing,
  type Resolver,
  type ResolverListener,
  registerResolver,
  type SecureConnector,
  type SecureConnectResult,
  type SubchannelAddress,
  statusOrFromValue,
} from './grpc-js.ts';
import { loadTls, type Pems } from './tls.ts';

/** Why an attempt to connect was given up. */
export class ConnectTimeoutError extends Error {
  override readonly name = 'ConnectTimeoutError';
  /** The host took the connection, and nothing came over it. */
  readonly taken: boolean;
  constructor(taken: boolean) {
    super(taken ? 'connected, but it does not answer' : 'no connection in time');
    this.taken = taken;
  }
}

/** The TLS handshake ended without a reason, as where the other side speaks no TLS. */
export class HandshakeCutError extends Error {
  override readonly name = 'HandshakeCutError';
}

/**
 * How the connections to one endpoint are made. grpc-js keeps one at a time and makes the next; three things it does not
 * do and they are done here: an attempt has a deadline, up to the first HTTP/2 frame; the certificates are read anew for
 * each; and what failed is kept as an error with its code, not only as text.
 */
interface Dial {
  readonly target: string;
  readonly options: ChannelOptions;
  readonly credentials: ChannelCredentials;
  /** Of the last attempt; null where that got through, or failed below TLS. */
  readonly lastError: () => unknown;
  /** The connection has carried an answer: nothing needs to be known by a ping for a while. */
  succeeded(): void;
  /** Ends an attempt that is under way. */
  close(): void;
}

interface DialDeps {
  readonly clock: Clock;
  /** TCP, TLS and HTTP/2 handshakes together, at first: see `attemptLimitMs`. */
  readonly connectTimeoutMs: number;
  /** Whether the channel can take calls. */
  readonly isReady: () => boolean;
  /** Which addresses of a name are tried. */
  readonly lookup: LookupFunction;
}

const MAX_CONNECT_TIMEOUT_MS = 20_000;

/**
 * How long an attempt to connect may take: longer, the longer nothing has come from there. Of a process that hangs the
 * kernel accepts connections that nothing reads, and each that is given up is one more to be cleared away by it before it
 * gets to those that wait. A third of an outage is the most by which this makes it longer.
 * @param silentMs since the first attempt after the last answer
 */
export function attemptLimitMs(connectTimeoutMs: number, silentMs: number): number {
  return Math.max(connectTimeoutMs, Math.min(silentMs / 3, MAX_CONNECT_TIMEOUT_MS));
}

/** Shared, as this happens with each answer: an abort without a reason makes an error with a stack. */
const CONNECTED = new Error('the attempt to connect is over');

const SCHEME = 'rollcall';
const DIALED = 'rollcall.address';

/** @param url an origin such as `https://10.0.0.1:2379` */
export function createDial(url: string, tls: EtcdTls | null, deps: DialDeps): Dial {
  const { hostname, port: portText, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  const port = Number(portText || (protocol === 'https:' ? 443 : 80));
  let attempt: { readonly socket: AbortController; readonly timer: AbortController } | null = null;
  let lastError: unknown = null;
  /** When the first attempt after the last answer began; null: none did. */
  let tryingSinceMs: number | null = null;
  /** Of the last attempt, once the host has taken it. */
  let taken: Socket | null = null;

  const failed = (error: unknown) => {
    lastError = error;
  };
  const endTimer = () => attempt?.timer.abort(CONNECTED);

  /** Ends the socket that is made with it; asked for once for each attempt. */
  const nextSignal = (): AbortSignal => {
    endTimer();
    const current = { socket: new AbortController(), timer: new AbortController() };
    attempt = current;
    taken = null;
    const nowMs = deps.clock.monotonicMs();
    tryingSinceMs ??= nowMs;
    const limitMs = attemptLimitMs(deps.connectTimeoutMs, nowMs - tryingSinceMs);
    deps.clock.sleep(limitMs, current.timer.signal).then(
      () => {
        if (deps.isReady()) return;
        failed(new ConnectTimeoutError(taken !== null));
        current.socket.abort(lastError);
      },
      () => {}, // connected, or closed
    );
    return current.socket.signal;
  };

  // grpc-js hands it to `net.connect` as it is, which resolves the name anew each time.
  const address = {
    host,
    port,
    lookup: deps.lookup,
    get signal() {
      return nextSignal();
    },
  };

  let pems: Pems = {};
  const connector: SecureConnector = {
    waitForReady: async () => {
      if (tls === null) return;
      pems = await loadTls(tls, deps.clock).catch((error) => rethrow(error, failed));
      // The files can be read again: what was wrong with them explains no later failure.
      if (lastError instanceof StoreError) lastError = null;
    },
    connect: (socket) => {
      taken = socket;
      return tls === null ? Promise.resolve({ socket, secure: false }) : secure(socket, host, pems, failed);
    },
    getCallCredentials: () => CallCredentials.createEmpty(),
    destroy: () => {},
  };

  return {
    target: `${SCHEME}:${host.includes(':') ? `[${host}]` : host}:${port}`,
    options: { [DIALED]: address },
    credentials: new DialedCredentials(tls !== null, connector),
    lastError: () => lastError,
    succeeded: () => {
      lastError = null;
      tryingSinceMs = null;
      endTimer();
      postponePing(address);
    },
    close: () => {
      endTimer();
      // An abort makes an error with a stack, for which V8 counts the lines of the whole program: 1 ms.
      if (taken !== null) taken.destroy();
      else attempt?.socket.abort();
    },
  };
}

function rethrow(error: unknown, tell: (error: unknown) => void): never {
  tell(error);
  throw error;
}

function secure(
  socket: Socket,
  host: string,
  pems: Pems,
  failed: (error: unknown) => void,
): Promise<SecureConnectResult> {
  return new Promise((resolve, reject) => {
    const servername = isIP(host) === 0 ? host : '';
    const tlsSocket = connectTls({ socket, host, servername, ALPNProtocols: ['h2'], ...pems }, () =>
      resolve({ socket: tlsSocket, secure: true }),
    );
    const fail = (error: Error) => {
      failed(error);
      reject(error);
    };
    // In TLS 1.3 the server refuses a client certificate after the handshake: this listener stays.
    tlsSocket.on('error', (error: NodeJS.ErrnoException) =>
      fail(error.code === 'ECONNRESET' ? new HandshakeCutError('connection closed in the TLS handshake') : error),
    );
    tlsSocket.once('close', () => reject(new HandshakeCutError('connection closed in the TLS handshake')));
  });
}

class DialedCredentials extends ChannelCredentials {
  readonly #secure: boolean;
  readonly #connector: SecureConnector;
  constructor(secure: boolean, connector: SecureConnector) {
    super();
    this.#secure = secure;
    this.#connector = connector;
  }
  override _isSecure(): boolean {
    return this.#secure;
  }
  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }
  override _createSecureConnector(): SecureConnector {
    return this.#connector;
  }
}

/** Hands out the one address of the channel. */
class DialResolver implements Resolver {
  readonly #listener: ResolverListener;
  readonly #address: SubchannelAddress;
  #isTold = false;
  constructor(_: GrpcUri, listener: ResolverListener, options: ChannelOptions) {
    this.#listener = listener;
    this.#address = options[DIALED];
  }
  static getDefaultAuthority(target: GrpcUri): string {
    return target.path;
  }
  /** Asked for again after each failure: reported again at once, the next attempt would come without a pause. */
  updateResolution(): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const value = [{ addresses: [this.#address] }];
    queueMicrotask(() => this.#listener(statusOrFromValue(value), {}, null, ''));
  }
  destroy(): void {
    this.#isTold = false;
  }
}

registerResolver(SCHEME, DialResolver);
