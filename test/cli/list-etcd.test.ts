import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { encodePresence, encodeRecord } from '../../src/record/codec.ts';
import { RANGE } from '../../src/store/etcd/rpc.ts';
import { ETCD_LIMITED, ETCD_ROOT, startEtcdWithAuth } from '../support/etcd-auth.ts';
import { type EtcdCerts, makeEtcdCerts } from '../support/etcd-certs.ts';
import { startFakeGrpc } from '../support/etcd-impostors.ts';
import { type EtcdServer, startEtcd } from '../support/etcd-server.ts';
import { describeOnEtcds } from '../support/etcd-versions.ts';
import { runInProcess } from '../support/run-in-process.ts';
import { sampleRecord } from '../support/sample-record.ts';

const storeUrl = (url: string, scheme = 'etcd') => url.replace(/^https?:/, `${scheme}:`);

/** Ends with 1 and one line on stderr that says which etcd, what failed and what to do; never with an empty list. */
async function fails(store: string, expected: RegExp, ...args: readonly string[]) {
  const { code, stdout, stderr } = await runInProcess(['list', '--store', store, ...args]);
  assert.match(stderr, expected);
  assert.match(stderr, /^rollcall list: [^\n]+\n$/);
  assert.deepEqual([code, stdout], [1, '']);
}

describeOnEtcds('list on an etcd that it cannot use is an error', (version) => {
  let open: EtcdServer;
  let guarded: EtcdServer;
  let tls: EtcdServer;
  let certs: EtcdCerts;
  before(async () => {
    certs = await makeEtcdCerts();
    open = await startEtcd({ version });
    guarded = await startEtcdWithAuth({ version });
    tls = await startEtcd({ version, tls: certs.mutual });
  });
  after(async () => {
    await Promise.all([open, guarded, tls].map((server) => server?.dispose()));
    await certs.dispose();
  });

  it('where it demands a user and none is given, another one, another password, or another right', async () => {
    const as = (user: string, password: string, path = '') =>
      storeUrl(guarded.clientUrl, 'etcd').replace('://', `://${user}:${password}@`) + path;
    await fails(storeUrl(guarded.clientUrl), /demands a user and password: give them with --etcd-user/);
    await fails(as('unknown', 'x'), /authentication failed for user "unknown": check the user and password/);
    await fails(as(ETCD_LIMITED.user, 'wrong'), /authentication failed for user "node"/);
    const right = /permission denied for user "node": it has no right to read \/other\/v1\/; give its role that right/;
    await fails(as(ETCD_LIMITED.user, ETCD_LIMITED.password, '/other'), right);
    const { code, stderr } = await runInProcess(['list', '--store', as(ETCD_ROOT.user, ETCD_ROOT.password)]);
    assert.equal(code, 0, stderr);
  });

  it('status names the version, the members and the leader, with a role that reads only our keys, too', async () => {
    const { stdout, stderr } = await runInProcess(['status', '--store', storeUrl(open.clientUrl)]);
    assert.match(
      stdout,
      new RegExp(`^Store +etcd://\\S+: etcd ${version.replaceAll('.', '\\.')}, 1 member, leader \\S+$`, 'm'),
    );
    assert.equal(stderr, '');
    const url = new URL(storeUrl(guarded.clientUrl));
    const role = `etcd://${ETCD_LIMITED.user}:${ETCD_LIMITED.password}@${url.host}`;
    const limited = await runInProcess(['status', '--store', role]);
    assert.equal(limited.code, 0, limited.stderr);
    assert.match(limited.stdout, /^Nodes +none$/m);
  });

  it('where one side speaks TLS and the other does not, or trusts another authority', async () => {
    const ca = ['--etcd-ca-file', certs.caFile];
    const whole = ['--etcd-cert-file', certs.client.certFile, '--etcd-key-file', certs.client.keyFile];
    await fails(storeUrl(tls.clientUrl), /if etcd speaks TLS, use an etcds:\/\/ store URL|speaks TLS only/);
    await fails(
      storeUrl(open.clientUrl, 'etcds'),
      /does not speak TLS: use an etcd:|speaks no TLS, use an etcd:/,
      ...ca,
    );
    await fails(storeUrl(tls.clientUrl, 'etcds'), /demands a client certificate|connection closed/, ...ca);
    const other = ['--etcd-ca-file', certs.otherCaFile, ...whole];
    await fails(storeUrl(tls.clientUrl, 'etcds'), /certificate not trusted: \S+ holds no CA that signed it/, ...other);
    const { code, stderr } = await runInProcess([
      ...['list', '--store', storeUrl(tls.clientUrl, 'etcds'), ...ca, ...whole],
    ]);
    assert.equal(code, 0, stderr);
  });
});

it('list at a host that is not there is an error', async () => {
  await fails('etcd://rollcall.invalid:2379', /name (does not resolve|cannot be resolved now)/);
  await fails('etcd://127.0.0.1:1', /etcd at http:\/\/127\.0\.0\.1:1: connection refused/);
});

it('list is right although each member refuses once, as while a leader is elected', async (t) => {
  const record = sampleRecord();
  const value = (text: string) => ({ value: text, modRevision: '2' });
  const root = '/rollcall/v1/';
  const answer = RANGE.response.encode({
    header: { revision: '2' },
    kvs: [
      {
        key: `${root}presence/${record.ec2InstanceId}`,
        ...value(encodePresence({ session: 's', since: 'x', ttlSeconds: 30 })),
      },
      { key: `${root}records/${record.ec2InstanceId}`, ...value(encodeRecord(record)) },
    ],
  });
  const asked = [0, 0, 0];
  const members = await Promise.all(
    asked.map((_, member) =>
      startFakeGrpc((call) => {
        asked[member] = (asked[member] ?? 0) + 1;
        if (asked[member] === 1) return call.end(14, 'etcdserver: leader changed');
        call.send(answer);
        call.end(0);
      }),
    ),
  );
  t.after(() => Promise.all(members.map((member) => member.close())));
  const store = `etcd://${members.map(({ url }) => url.replace('http://', '')).join(',')}`;
  const { code, stdout, stderr } = await runInProcess(['list', '--store', store, '--no-legend', '--fields=instance']);
  assert.deepEqual([code, stdout, stderr], [0, `${record.ec2InstanceId}\n`, '']);
  assert.deepEqual(asked.toSorted(), [1, 1, 2]);
});
