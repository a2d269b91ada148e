import assert from 'node:assert/strict';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, it } from 'node:test';
import type { Kv } from '../../../src/store/kv.ts';
import type { EtcdTls } from '../../../src/store/store-url.ts';
import { ETCD_ROOT, startEtcdWithAuth } from '../../support/etcd-auth.ts';
import { type EtcdCerts, makeEtcdCerts } from '../../support/etcd-certs.ts';
import { assertConfirms, closeTestKvs, collect, never, openTestKv, putAll } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { describeOnEtcds } from '../../support/etcd-versions.ts';
import { until } from '../../support/machine-time.ts';

describeOnEtcds('TLS to etcd', (version) => {
  let certs: EtcdCerts;
  let server: EtcdServer;
  before(async () => {
    certs = await makeEtcdCerts();
    server = await startEtcd({ version, tls: certs.mutual });
  });
  afterEach(closeTestKvs);
  after(async () => {
    await server.dispose();
    await certs.dispose();
  });

  const withKv = async <T>(tls: Partial<EtcdTls>, work: (kv: Kv) => Promise<T>, url = server.clientUrl): Promise<T> => {
    const kv = openTestKv([url], { tls: { caFile: certs.caFile, ...certs.client, ...tls } });
    return work(kv);
  };
  const refused = (tls: Partial<EtcdTls>, message: RegExp) =>
    withKv(tls, (kv) =>
      assert.rejects(kv.range({ prefix: '' }, never), (error: Error & { retryable?: boolean }) => {
        assert.equal(error.name, 'StoreError');
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        assert.equal(error.retryable, false);
        return true;
      }),
    );

  it('works with a client certificate, by address and by name, for calls and watches', async () => {
    await withKv({}, async (kv) => {
      const { revision } = await kv.range({ prefix: '' }, never);
      assertConfirms((await collect(kv, revision, ({ length }) => length === 1))[0], revision);
    });
    await withKv({}, (kv) => kv.range({ prefix: '' }, never), server.clientUrl.replace('127.0.0.1', 'localhost'));
  });

  it('names a client certificate that has expired, and when', () =>
    refused(
      certs.expiredClient,
      /^etcd: client certificate expired on 2021-01-01T00:00:00.000Z: renew \/.*expired-client/,
    ));

  it('says that a client certificate is missing', () =>
    refused({ certFile: null, keyFile: null }, /it demands a client certificate: give one with --etcd-cert-file/));

  it('says that the client certificate is not of the CA that etcd trusts', () =>
    refused(certs.foreignClient, /it refused the client certificate \/.*foreign-client\.pem: check that its CA/));

  it('says that the server certificate is not trusted, and what to give', async () => {
    await refused({ caFile: certs.otherCaFile }, /server certificate not trusted: \/.*other-ca\.pem holds no CA that/);
    await refused({ caFile: null }, /server certificate not trusted: give its CA with --etcd-ca-file$/);
  });

  it('names a file that is missing, malformed or does not match', async () => {
    const junk = join(certs.dir, 'junk.pem');
    await writeFile(junk, 'junk');
    await refused({ caFile: '/none.pem' }, /^etcd: cannot read the CA file \/none\.pem: ENOENT/);
    await refused({ caFile: junk }, /^etcd: the CA file \/.*junk\.pem holds no PEM certificate/);
    await refused({ certFile: junk }, /^etcd: the client certificate file \/.*junk\.pem holds no PEM certificate/);
    await refused({ keyFile: '/none.pem' }, /^etcd: cannot read the client key file \/none\.pem: ENOENT/);
    await refused(
      { keyFile: certs.server.keyFile },
      /^etcd: client key \/.*server\.key does not match \/.*client\.pem/,
    );
  });

  it('takes up rotated files with the next connection', async () => {
    const certFile = join(certs.dir, 'rotated.pem');
    const keyFile = join(certs.dir, 'rotated.key');
    await copyFile(certs.expiredClient.certFile, certFile);
    await copyFile(certs.expiredClient.keyFile, keyFile);
    await withKv({ certFile, keyFile }, async (kv) => {
      await assert.rejects(kv.range({ prefix: '' }, never), /client certificate expired/);
      await copyFile(certs.client.certFile, certFile);
      await copyFile(certs.client.keyFile, keyFile);
      await until('the new files are used', 5_000, async () => Boolean(await kv.range({ prefix: '' }, never)));
    });
  });

  it('works where the server certificate is for servers only, and client certificates are demanded', async () => {
    const strict = await startEtcd({ version, tls: certs.serverAuth });
    try {
      await withKv(
        {},
        async (kv) => {
          const { lease } = await kv.grant(30_000, never);
          const revision = await putAll(kv, { a: '1' }, lease);
          assert.equal(await kv.keepAlive(lease, never), true);
          assertConfirms((await collect(kv, revision, ({ length }) => length === 1))[0], revision);
        },
        strict.clientUrl,
      );
    } finally {
      await strict.dispose();
    }
  });

  it('makes the CN of the client certificate the etcd user, unless a user and password are given', async () => {
    const guarded = await startEtcdWithAuth({ version, tls: certs.mutual });
    try {
      const tls = { caFile: certs.caFile, ...certs.client };
      const byName = openTestKv(guarded.endpoints, { tls });
      const revision = await putAll(byName, { a: '1' });
      assertConfirms((await collect(byName, revision, ({ length }) => length === 1))[0], revision);
      const elsewhere = openTestKv(guarded.endpoints, { tls, prefix: '/other' });
      await assert.rejects(elsewhere.range({ prefix: '' }, never), {
        retryable: false,
        message: /permission denied for the user that is the CN of \/.*client\.pem: it has no right to read \/other\/;/,
      });
      const asRoot = openTestKv(guarded.endpoints, { tls, prefix: '/other', credentials: ETCD_ROOT });
      await asRoot.range({ prefix: '' }, never);
    } finally {
      await guarded.dispose();
    }
  });

  it('says which of the two URL schemes is the right one', async () => {
    const plain = openTestKv([server.clientUrl.replace('https:', 'http:')]);
    await assert.rejects(plain.range({ prefix: '' }, never), /if etcd speaks TLS, use an etcds:\/\/ store URL/);
    const open = await startEtcd({ version });
    await withKv(
      {},
      (kv) => assert.rejects(kv.range({ prefix: '' }, never), /speaks? no TLS|does not speak TLS/),
      open.clientUrl.replace('http:', 'https:'),
    );
    await open.dispose();
  });
});
