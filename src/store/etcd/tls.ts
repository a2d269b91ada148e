import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { buildConnector } from 'undici';
import newConnector from 'undici/lib/core/connect.js';
import type { Clock } from '../../lib/clock.ts';
import { describeError } from '../../lib/errors.ts';
import { StoreError } from '../errors.ts';
import type { EtcdTls } from '../store-url.ts';

/**
 * Makes TLS connections with the PEM files as they are on disk at that moment, so that rotated certificates are taken
 * up without a restart. A file that is missing, malformed or out of date fails with a `StoreError` that names it: etcd
 * itself says no more than "bad certificate" to an expired client.
 */
export function tlsConnector(
  tls: EtcdTls,
  clock: Clock,
  connectTimeoutMs: number,
  http2 = false,
): buildConnector.connector {
  return (options, callback) => {
    loadTls(tls, clock).then(
      (pems) => {
        const connect = newConnector({
          ...pems,
          allowH2: http2,
          preferH2: http2,
          timeout: connectTimeoutMs,
        }) as Connect;
        const socket = connect(options, (...[error, connected]) => {
          if (error === null) callback(null, connected);
          else callback(handshakeError(error), null);
        });
        // In TLS 1.3 a refused client certificate is told after the handshake, and the end of the connection comes with
        // it; undici would report only that end.
        socket.on('error', (error) => socket.destroy(error));
      },
      (error: Error) => callback(error, null),
    );
  };
}

// undici's types leave out that the connector returns its socket.
type Connect = (...args: Parameters<buildConnector.connector>) => Socket;

function handshakeError(error: Error): Error {
  const cut = 'code' in error && error.code === 'ECONNRESET';
  return cut
    ? new Error('connection closed in the TLS handshake: if etcd speaks no TLS, use an etcd:// store URL')
    : error;
}

interface Pems {
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
}

async function loadTls({ caFile, certFile, keyFile }: EtcdTls, clock: Clock): Promise<Pems> {
  const pems: Pems = {};
  if (caFile !== null) {
    pems.ca = await readPem('CA', caFile);
    parseCertificate('CA', caFile, pems.ca);
  }
  if (certFile !== null && keyFile !== null) {
    pems.cert = await readPem('client certificate', certFile);
    pems.key = await readPem('client key', keyFile);
    refuseExpired(parseCertificate('client certificate', certFile, pems.cert), certFile, clock);
    try {
      createSecureContext({ cert: pems.cert, key: pems.key });
    } catch (cause) {
      throw fileError(`client key ${keyFile} does not fit ${certFile}: ${describeError(cause)}`, cause);
    }
  }
  return pems;
}

async function readPem(what: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw fileError(`cannot read the ${what} file ${path}: ${describeError(cause)}`, cause);
  }
}

/** The first certificate of the file; OpenSSL would silently trust nothing where a file holds none. */
function parseCertificate(what: string, path: string, pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw fileError(`the ${what} file ${path} holds no PEM certificate`, cause);
  }
}

function refuseExpired(certificate: X509Certificate, path: string, clock: Clock): void {
  const until = certificate.validToDate;
  if (until.getTime() < clock.wallMs()) {
    throw fileError(`client certificate expired on ${until.toISOString()}: renew ${path}`, undefined);
  }
}

function fileError(text: string, cause: unknown): StoreError {
  return new StoreError(`etcd: ${text}`, { retryable: false, cause });
}
