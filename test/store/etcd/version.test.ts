import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { afterEach, describe, it } from 'node:test';
import { explainVersionAnswer } from '../../../src/store/etcd/version.ts';
import {
  type Impostor,
  startFakeGrpc,
  startFakeHttp1,
  startFakeTcp,
  startSilentServer,
  startTcpProxy,
} from '../../support/etcd-impostors.ts';
import { closeTestKvs, never, openTestKv } from '../../support/etcd-kv.ts';
import { startEtcd } from '../../support/etcd-server.ts';
import { describeOnEtcds } from '../../support/etcd-versions.ts';
import { rollcall } from '../../support/rollcall-process.ts';

afterEach(closeTestKvs);

describe('what answers GET /version', () => {
  it('is named with its version where it is an etcd, of every age', () => {
    assert.match(
      explainVersionAnswer(200, '{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}'),
      /^it is etcd 2\.3\.8, which is too old/,
    );
    assert.match(
      explainVersionAnswer(200, 'etcd 2.0.13'),
      /^it is etcd 2\.0\.13, which is too old: rollcall needs etcd 3\.2 to 3\.6$/,
    );
    assert.match(
      explainVersionAnswer(200, '{"etcdserver":"3.1.20","etcdcluster":"3.1.0"}'),
      /etcd 3\.1\.20, which is too old/,
    );
    assert.match(
      explainVersionAnswer(200, '{"etcdserver":"3.5.16","etcdcluster":"3.5.0"}'),
      /^it is etcd 3\.5\.16, and gRPC does not/,
    );
  });

  it('is said to be no etcd otherwise, with what it answers', () => {
    assert.match(
      explainVersionAnswer(404, '<h1>Not\nFound</h1>'),
      /^it is not etcd: it answers GET \/version with HTTP 404 \("<h1>Not F/,
    );
    assert.match(explainVersionAnswer(200, '{"version":"1.2.3"}'), /^it is not etcd/);
    assert.match(
      explainVersionAnswer(400, 'Client sent an HTTP request to an HTTPS server.\n'),
      /TLS only: use an etcds:\/\//,
    );
  });
});

/** An HTTP/1.1 server that answers GET /version so, as etcd before 3.0 and other servers do. */
const versioned = (status: number, text: string) =>
  startFakeHttp1((request, response) => {
    if (request.method === 'GET' && request.url === '/version') response.writeHead(status).end(text);
    else response.writeHead(404).end('404 page not found');
  });

describe('an etcd that cannot be used', () => {
  const list = (url: string, ...args: string[]) =>
    rollcall(['list', '--store', url.replace('http:', 'etcd:'), ...args]);

  it('is an error of list, never an empty roll: it says which etcd, where, and what it takes', async (t) => {
    const cases: [Impostor, RegExp][] = [
      [
        await versioned(200, '{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}'),
        /^rollcall list: etcd at http:\/\/127\.0\.0\.1:\d+: [^\n]+; it is etcd 2\.3\.8, which is too old: rollcall needs etcd 3\.2 to 3\.6\n$/,
      ],
      [
        await versioned(404, 'nothing here'),
        /; it is not etcd: it answers GET \/version with HTTP 404 \("nothing here"\); check the address and port\n$/,
      ],
      [
        await startFakeGrpc((call) => call.end(12, 'unknown service etcdserverpb.KV')),
        /: unknown service etcdserverpb\.KV/,
      ],
    ];
    for (const [impostor, expected] of cases) {
      t.after(() => impostor.close());
      const { code, stdout, stderr } = await list(impostor.url);
      assert.match(stderr, expected);
      assert.equal(code, 1, stderr);
      assert.equal(stdout, '');
    }
  });

  it('is named as another server where it speaks another protocol, with what to check', async (t) => {
    const noEtcd = /: Protocol error; it is not etcd: it does not answer GET \/version as HTTP does; check the address/;
    const servers: Record<string, [(socket: Socket) => void, RegExp]> = {
      'greets as ssh does': [(socket) => socket.write('SSH-2.0-OpenSSH_9.2p1\r\n'), noEtcd],
      'refuses as Redis does': [
        (socket) => socket.once('data', () => socket.write('-ERR unknown command\r\n')),
        noEtcd,
      ],
      'sends a page without end': [
        (socket) => {
          const more = () => void (socket.writable && socket.write('x'.repeat(65_536), () => setImmediate(more)));
          socket.write('HTTP/1.1 200 OK\r\n\r\n', more);
        },
        noEtcd,
      ],
      'resets each connection': [
        (socket) => socket.resetAndDestroy(),
        /: connection reset: check that etcd is what listens there, and the port of the store URL$/,
      ],
      'closes each connection': [
        (socket) => socket.end(),
        /: connection closed without an answer: if etcd speaks TLS, use an etcds:\/\/ store URL$/,
      ],
    };
    for (const [what, [onSocket, expected]] of Object.entries(servers)) {
      const server = await startFakeTcp(onSocket);
      t.after(() => server.close());
      await assert.rejects(openTestKv([server.url]).range({ prefix: '' }, never), { message: expected }, what);
    }
  });

  it('is not asked for its version when something else explains the failure', async (t) => {
    const refusing = await startFakeGrpc((call) => call.end(7, 'etcdserver: permission denied'));
    const counting = await startTcpProxy(refusing.url);
    t.after(() => Promise.all([counting.close(), refusing.close()]));
    const kv = openTestKv([counting.url]);
    await assert.rejects(kv.range({ prefix: '' }, never), /demands a user and password/);
    assert.equal(counting.connections(), 1);
    const unknown = await startFakeGrpc((call) => call.end(12, 'unknown service'));
    const asking = await startTcpProxy(unknown.url);
    t.after(() => Promise.all([asking.close(), unknown.close()]));
    const other = openTestKv([asking.url]);
    await assert.rejects(other.range({ prefix: '' }, never), /unknown service/);
    assert.equal(asking.connections(), 2, 'here it was');
  });

  it('is given up after --timeout', async (t) => {
    const silent = await startSilentServer();
    t.after(() => silent.close());
    const { code, stderr } = await list(silent.url, '--timeout', '300ms');
    assert.equal(code, 1);
    assert.match(
      stderr,
      /(connected, but it does not answer: check that etcd there is not frozen .*|no answer within 300 ms)\n$/,
    );
  });

  it('is explained at each endpoint, beside one that is down', async (t) => {
    const old = await versioned(200, 'etcd 2.0.13');
    t.after(() => old.close());
    const { code, stderr } = await list(`${old.url},127.0.0.1:1`);
    assert.equal(code, 1);
    assert.match(stderr, /it is etcd 2\.0\.13, which is too old/);
    assert.match(stderr, /127\.0\.0\.1:1: connection refused/);
  });
});

describeOnEtcds('an etcd with its JSON gateway off', (version) => {
  it('works as any other', async (t) => {
    const args = version === '3.3.25' ? [] : ['--enable-grpc-gateway=false'];
    const etcd = await startEtcd({ version, args });
    t.after(() => etcd.dispose());
    const kv = openTestKv(etcd.endpoints);
    const { lease } = await kv.grant(30_000, never);
    await kv.txn({ guards: [], puts: [{ key: 'a', value: '1', lease }], deletes: [], reads: [] }, never);
    assert.equal((await kv.range({ prefix: '' }, never)).kvs[0]?.value, '1');
    assert.equal(await kv.keepAlive(lease, never), true);
  });
});

describeOnEtcds('an etcd behind a proxy that speaks only HTTP/1.1', (version) => {
  it('is named with its version, and what to do about the proxy', async (t) => {
    const etcd = await startEtcd({ version });
    t.after(() => etcd.dispose());
    const proxy = await startFakeHttp1(async (request, response) => {
      const answer = await fetch(`${etcd.clientUrl}${request.url}`);
      response.writeHead(answer.status).end(await answer.text());
    });
    t.after(() => proxy.close());
    await assert.rejects(openTestKv([proxy.url]).range({ prefix: '' }, never), {
      message: new RegExp(`it is etcd ${version}, and gRPC does not get through to it: name etcd's own port`),
    });
    const direct = await startTcpProxy(etcd.clientUrl);
    t.after(() => direct.close());
    await openTestKv([direct.url]).range({ prefix: '' }, never);
  });
});
