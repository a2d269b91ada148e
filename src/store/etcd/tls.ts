import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import { describeError } from '../../lib/errors.ts';
import { StoreError } from '../store-errors.ts';
import type { EtcdTls } from '../store-url.ts';

/** What `tls.connect` takes. */
export interface Pems {
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
}

/**
 * The PEM files as they are on disk now: read for each connection, so that rotated certificates are taken up without a
 * restart. A file that is missing, malformed or out of date fails with a `StoreError` that names it: etcd itself says no
 * more than "bad certificate" to an expired client.
 */
export async function loadTls({ caFile, certFile, keyFile }: EtcdTls, clock: Clock): Promise<Pems> {
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
      throw fileError(`client key ${keyFile} does not match ${certFile}: ${describeError(cause)}`, cause);
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
