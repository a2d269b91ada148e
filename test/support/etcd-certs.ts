import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** What `startEtcd` needs to serve TLS. */
export interface EtcdServerTls {
  readonly serverArgs: readonly string[];
  readonly etcdctlArgs: readonly string[];
}

export interface CertPair {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Paths of PEM files in a temporary directory that `dispose` removes. */
export interface EtcdCerts {
  readonly dir: string;
  readonly caFile: string;
  /** An authority that signed none of the others. */
  readonly otherCaFile: string;
  /** For 127.0.0.1 and localhost. */
  readonly server: CertPair;
  /** Its common name is `node`. */
  readonly client: CertPair;
  /** Valid until a year ago. */
  readonly expiredClient: CertPair;
  /** Signed by the other authority. */
  readonly foreignClient: CertPair;
  /** Server TLS that demands a client certificate. */
  readonly mutual: EtcdServerTls;
  /** The same with a server certificate that is for servers only, as many authorities make them. */
  readonly serverAuth: EtcdServerTls;
  /** Server TLS alone. */
  readonly serverOnly: EtcdServerTls;
  dispose(): Promise<void>;
}

/** Makes two authorities and their certificates with the `openssl` command. */
export async function makeEtcdCerts(): Promise<EtcdCerts> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-certs-'));
  const openssl = (...args: string[]) => promisify(execFile)('openssl', args, { cwd: dir });
  const path = (name: string) => join(dir, name);

  const authority = async (name: string) => {
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    const files = ['-keyout', `${name}.key`, '-out', `${name}.pem`];
    await openssl('req', '-x509', ...curve, ...files, '-days', '30', '-subj', `/CN=rollcall test ${name}`);
    return name;
  };
  const issue = async (
    ca: string,
    name: string,
    commonName: string,
    days: readonly string[],
    usage = 'serverAuth,clientAuth',
  ): Promise<CertPair> => {
    await openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
    await openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=${commonName}`, '-out', `${name}.csr`);
    const conf = `${name}.cnf`;
    await writeFile(path(`${name}.txt`), '');
    // `openssl ca` and not `x509 -req`: in OpenSSL 3.0 only it can date a certificate into the past.
    await writeFile(
      path(conf),
      `[ca]\ndefault_ca=d\n[d]\nnew_certs_dir=.\ndatabase=${name}.txt\nrand_serial=yes\ndefault_md=sha256\n` +
        'policy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nbasicConstraints=CA:FALSE\n' +
        `extendedKeyUsage=${usage}\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n`,
    );
    const signer = ['-cert', `${ca}.pem`, '-keyfile', `${ca}.key`];
    await openssl(
      'ca',
      '-batch',
      '-notext',
      '-config',
      conf,
      ...signer,
      '-in',
      `${name}.csr`,
      '-out',
      `${name}.pem`,
      ...days,
    );
    return { certFile: path(`${name}.pem`), keyFile: path(`${name}.key`) };
  };

  const valid = ['-days', '30'];
  const past = ['-startdate', '20200101000000Z', '-enddate', '20210101000000Z'];
  await Promise.all([authority('ca'), authority('other-ca')]);
  const [server, serverAuth, client, expiredClient, foreignClient] = await Promise.all([
    issue('ca', 'server', 'rollcall test server', valid),
    issue('ca', 'server-auth', 'rollcall test server', valid, 'serverAuth'),
    issue('ca', 'client', 'node', valid),
    issue('ca', 'expired-client', 'node', past),
    issue('other-ca', 'foreign-client', 'node', valid),
  ]);
  const caFile = path('ca.pem');
  const argsOf = (pair: CertPair) => [`--cert-file=${pair.certFile}`, `--key-file=${pair.keyFile}`];
  const serverArgs = argsOf(server);
  const demanding = [`--trusted-ca-file=${caFile}`, '--client-cert-auth'];
  const etcdctlArgs = [`--cacert=${caFile}`, `--cert=${client.certFile}`, `--key=${client.keyFile}`];
  return {
    dir,
    caFile,
    otherCaFile: path('other-ca.pem'),
    server,
    client,
    expiredClient,
    foreignClient,
    mutual: { serverArgs: [...serverArgs, ...demanding], etcdctlArgs },
    serverAuth: { serverArgs: [...argsOf(serverAuth), ...demanding], etcdctlArgs },
    serverOnly: { serverArgs, etcdctlArgs: [`--cacert=${caFile}`] },
    dispose: () => rm(dir, { recursive: true, force: true }),
  };
}
