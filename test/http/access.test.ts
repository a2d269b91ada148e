import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { readHealth } from '../../src/cli/health.ts';
import { connect } from '../../src/client/connect.ts';
import type { ConnectOptions } from '../../src/client/types.ts';
import { type AccessFiles, describeOpenPort, NO_ACCESS_FILES, openAccess } from '../../src/http/access.ts';
import { type Handler, jsonReply } from '../../src/http/reply.ts';
import { type ServerLimits, startHttpServer } from '../../src/http/server.ts';
import { untilAborted } from '../../src/lib/abort.ts';
import { type AgentAccess, OPEN_ACCESS, openAgentPool } from '../../src/lib/agent-access.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { boundedRequest } from '../../src/lib/http-client.ts';
import { replaceFile } from '../../src/lib/replace-file.ts';
import { type EtcdCerts, makeEtcdCerts } from '../support/etcd-certs.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { type SimulatedClock, simulatedClock } from '../support/simulated-clock.ts';

const TOKEN = 'a-token-of-the-fleet-0123456789';
const OTHER_TOKEN = 'b-token-of-the-fleet-0123456789';
const ROLL = { containerInstances: [], revision: '7', ageMs: 0, stale: false, uncertainty: null, skipped: [] };
const { signal } = new AbortController();
let certs: EtcdCerts;
before(async () => {
  certs = await makeEtcdCerts();
});
after(() => certs.dispose());

/** A server of three paths with the access of these files, and a clock for the time between two reads of them. */
async function serve(t: TestContext, files: Partial<AccessFiles>, limits: Partial<ServerLimits> = {}) {
  const clock = simulatedClock();
  const errors: string[] = [];
  const page = () => ({ status: 200, contentType: 'text/plain', body: 'yes' });
  let begun = 0;
  const follow: Handler = ({ signal }) => ({
    ...page(),
    body: (async function* () {
      begun += 1;
      yield 'begun';
      await untilAborted(signal).catch(() => {});
    })(),
    heartbeat: () => '',
  });
  const server = await startHttpServer({
    listen: { host: '127.0.0.1', port: 0 },
    routes: {
      '/': page,
      '/healthz': page,
      '/v1/self': page,
      '/v1/containerInstances': () => jsonReply(ROLL),
      '/v1/events': follow,
    },
    clock,
    onError: (error) => errors.push(String(error)),
    access: await openAccess({ ...NO_ACCESS_FILES, ...files }, clock),
    limits,
  });
  // The grace of a close is by the clock, which stands still.
  const close = async () => {
    const closed = server.close();
    await clock.advance(1_000);
    await closed;
  };
  t.after(close);
  const ask = async (path: string, access: Partial<AgentAccess> = {}) => {
    const whole = { ...OPEN_ACCESS, ...access };
    const pool = openAgentPool(server.url, whole, { connections: 1, connectTimeoutMs: 5_000 });
    try {
      return await boundedRequest(pool, { method: 'GET', path, maxBytes: 10_000, signal });
    } finally {
      await pool.destroy();
    }
  };
  return { url: server.url, ask, clock, errors, close, begun: () => begun };
}

/** The files are read each 5 s of the clock; how long a read takes, it does not say. */
function later(clock: SimulatedClock, what: string, condition: () => Promise<boolean> | boolean): Promise<number> {
  return until(what, PATIENCE_MS, async () => {
    await clock.advance(5_000);
    return condition();
  });
}

async function folder(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-access-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

test('a token is asked for, except at /healthz and for the page of the board', async (t) => {
  const tokenFile = join(await folder(t), 'token');
  await writeFile(tokenFile, `${TOKEN}\n`);
  const { url, ask } = await serve(t, { tokenFile });
  assert.match(url, /^http:/);
  assert.equal((await ask('/healthz')).status, 200);
  assert.equal((await ask('/')).status, 200);
  const refused = await ask('/v1/self');
  assert.equal(refused.status, 401);
  assert.equal(refused.headers['www-authenticate'], 'Bearer realm="rollcall"');
  assert.equal(refused.headers['content-type'], 'application/problem+json');
  assert.match(JSON.parse(refused.text).detail, /^a token is needed; send one of the agent’s --listen-token-file/);
  assert.match((await ask('/v1/self', { token: 'another-token-0123456789' })).text, /this token is not known/);
  assert.equal((await ask('/v1/self', { token: TOKEN })).status, 200);
  assert.equal((await ask('/v1/self', { tokenFile })).status, 200);
  // A reader without a token does not learn which paths there are.
  assert.equal((await ask('/v1/other')).status, 401);
  assert.equal((await ask('/v1/%73elf')).status, 401);
});

test('a token that replaces another is let in within 5 s; one that cannot be read changes nothing', async (t) => {
  const tokenFile = join(await folder(t), 'token');
  await writeFile(tokenFile, TOKEN);
  const { ask, clock, errors } = await serve(t, { tokenFile });
  const next = 'the-next-token-0123456789';
  // As a whole: the agent may read at any moment, also between the emptying and the writing of a file.
  await replaceFile(tokenFile, `${next}\n${TOKEN}\n`);
  await later(clock, 'the next token is let in', async () => (await ask('/v1/self', { token: next })).status === 200);
  assert.equal((await ask('/v1/self', { token: TOKEN })).status, 200);
  await replaceFile(tokenFile, 'short');
  await later(clock, 'the error is reported', () => errors.length > 0);
  await clock.advance(5_000);
  assert.equal((await ask('/v1/self', { token: next })).status, 200);
  assert.equal(errors.length, 1, errors.join());
  assert.match(errors[0] ?? '', /holds a token of 5 characters; at least 16 are needed/);
});

test('a token that is removed ends the streams; a client CA that is replaced ends the connections', async (t) => {
  const dir = await folder(t);
  const [tokenFile, clientCaFile] = [join(dir, 'tokens'), join(dir, 'ca')];
  await writeFile(tokenFile, `${TOKEN}\n${OTHER_TOKEN}\n`);
  await copyFile(certs.caFile, clientCaFile);
  const withToken = await serve(t, { tokenFile });
  const withCa = await serve(t, { ...certs.server, clientCaFile });
  const streams = [
    withToken.ask('/v1/events', { token: TOKEN }),
    withToken.ask('/v1/events', { token: OTHER_TOKEN }),
    withCa.ask('/v1/events', { caFile: certs.caFile, ...certs.client }),
  ];
  const over: number[] = [];
  const [removed, kept, cut] = streams.map((stream, n) =>
    stream.then(
      () => over.push(n),
      (error: Error) => {
        over.push(n);
        return error;
      },
    ),
  );
  await until('the streams have begun', PATIENCE_MS, () => withToken.begun() === 2 && withCa.begun() === 1);
  await writeFile(tokenFile, `${OTHER_TOKEN}\n`);
  await copyFile(certs.otherCaFile, clientCaFile);
  await later(withToken.clock, 'two streams have ended', async () => {
    await withCa.clock.advance(5_000);
    return over.length === 2;
  });
  assert.equal(typeof (await removed), 'number', 'it ends in good order');
  assert.ok((await cut) instanceof Error, 'its connection is cut off');
  assert.ok(!over.includes(1), 'the other token still lets in');
  assert.equal((await withToken.ask('/v1/self', { token: TOKEN })).status, 401);
  await withToken.close();
  await kept;
});

test('over HTTPS the server has its certificate, and takes up another', async (t) => {
  const dir = await folder(t);
  const [certFile, keyFile] = [join(dir, 'cert'), join(dir, 'key')];
  await copyFile(certs.server.certFile, certFile);
  await copyFile(certs.server.keyFile, keyFile);
  const { url, ask, clock } = await serve(t, { certFile, keyFile });
  assert.match(url, /^https:/);
  assert.equal((await ask('/v1/self', { caFile: certs.caFile })).status, 200);
  await assert.rejects(ask('/v1/self'), /certificate/);
  await assert.rejects(ask('/v1/self', { caFile: certs.otherCaFile }), /certificate/);
  await assert.rejects(ask('/v1/self', { caFile: join(dir, 'none') }), /cannot read the CA file .*none: /);
  const { port } = new URL(url);
  const at = { host: '127.0.0.1', port: Number(port) };
  assert.deepEqual((await readHealth(at, systemClock, signal, certFile)).healthy, true);
  const reason = async (file: string | null) => (await readHealth(at, systemClock, signal, file)).reason;
  const other = certs.client.certFile;
  assert.equal(
    await reason(other),
    `cannot read ${url}/healthz: the agent has another certificate than ${other}; set --listen-cert-file to its own`,
  );
  assert.match(await reason(null), /: socket hang up; if the agent speaks HTTPS, set --listen-cert-file$/);
  // The client's pair is another certificate of the same authority, without this server's name.
  await copyFile(certs.client.certFile, certFile);
  await copyFile(certs.client.keyFile, keyFile);
  await later(clock, 'the other certificate is served', async () => {
    return (await readHealth(at, systemClock, signal, certs.client.certFile)).healthy;
  });
});

test('a file that cannot be used keeps none of the others from being read', async (t) => {
  const dir = await folder(t);
  const [certFile, keyFile, tokenFile] = [join(dir, 'cert'), join(dir, 'key'), join(dir, 'token')];
  await copyFile(certs.server.certFile, certFile);
  await copyFile(certs.server.keyFile, keyFile);
  const removed = 'the-removed-token-0123456789';
  await writeFile(tokenFile, `${removed}\n${TOKEN}\n`);
  const files = { certFile, keyFile, tokenFile, clientCaFile: certs.caFile };
  const { ask, clock, errors } = await serve(t, files);
  const statusOf = async (token: string) =>
    (await ask('/v1/self', { token, caFile: certs.caFile, ...certs.client })).status;
  assert.equal(await statusOf(removed), 200);
  await replaceFile(certFile, 'no certificate');
  await replaceFile(tokenFile, TOKEN);
  await later(clock, 'the token is removed', async () => (await statusOf(removed)) === 401);
  await later(clock, 'the certificate is named', () => errors.length > 0);
  assert.match(errors.join(), /^[^,]*cert and \S+key cannot be used: [^,]+$/);
  await replaceFile(tokenFile, 'short');
  await later(clock, 'the token file is named, too', () => errors.length > 1);
  await copyFile(certs.server.certFile, certFile);
  assert.equal(await statusOf(TOKEN), 200);
});

/** A connection that says nothing, as of a port scanner or of a host without power. */
async function connectSilently(t: TestContext, url: string) {
  const socket = connectTcp(Number(new URL(url).port), '127.0.0.1');
  t.after(() => socket.destroy());
  const closed = once(socket, 'close');
  socket.on('error', () => {}).resume();
  await once(socket, 'connect');
  return { closed };
}

test('over HTTPS, connections that say nothing are ended, and do not hold up the end of the server', async (t) => {
  const hasty = await serve(t, certs.server, { headersTimeoutMs: 100 });
  await (await connectSilently(t, hasty.url)).closed;
  const patient = await serve(t, certs.server, { headersTimeoutMs: 600_000, requestTimeoutMs: 600_000 });
  const silent = await connectSilently(t, patient.url);
  await patient.close();
  await silent.closed;
});

test('a client certificate of the authority is asked for, except at /healthz', async (t) => {
  const { ask } = await serve(t, { ...certs.server, clientCaFile: certs.caFile });
  const { caFile } = certs;
  assert.equal((await ask('/healthz', { caFile })).status, 200);
  const refused = await ask('/', { caFile });
  assert.equal(refused.status, 403);
  assert.match(refused.text, /a client certificate is needed/);
  assert.equal((await ask('/v1/self', { caFile, ...certs.foreignClient })).status, 403);
  assert.equal((await ask('/v1/self', { caFile, ...certs.client })).status, 200);
});

test('files that cannot be used are refused at the start', async (t) => {
  const dir = await folder(t);
  const clock = simulatedClock();
  const empty = join(dir, 'empty');
  await writeFile(empty, '\n');
  const open = (files: Partial<AccessFiles>) => openAccess({ ...NO_ACCESS_FILES, ...files }, clock);
  await assert.rejects(open({ tokenFile: empty }), /the token file .*empty holds no token; at least 16 are needed/);
  await assert.rejects(open({ tokenFile: join(dir, 'none') }), /listen: cannot read the token file .*none: /);
  const mixed = { certFile: certs.server.certFile, keyFile: certs.client.keyFile };
  await assert.rejects(open(mixed), /cannot be used: .*key values mismatch/);
});

test('a port that every host reaches without a token is named; loopback is not', () => {
  const open = { host: '::', port: 51_690 };
  assert.match(describeOpenPort(open, NO_ACCESS_FILES) ?? '', /^this agent listens on all addresses, port 51690 and/);
  assert.equal(describeOpenPort(open, { ...NO_ACCESS_FILES, tokenFile: 'x' }), null);
  assert.equal(describeOpenPort({ host: '127.0.0.1', port: 1 }, NO_ACCESS_FILES), null);
  // TLS alone keeps nothing from reading.
  assert.notEqual(describeOpenPort({ host: '10.0.0.1', port: 1 }, { ...NO_ACCESS_FILES, ...certs.server }), null);
});

test('the client gets in with a token, over TLS, with a certificate, and says why it does not', async (t) => {
  const dir = await folder(t);
  const tokenFile = join(dir, 'token');
  await writeFile(tokenFile, TOKEN);
  const { url } = await serve(t, { ...certs.server, clientCaFile: certs.caFile, tokenFile });
  const revision = async (options: ConnectOptions) => {
    const client = connect(url, options);
    try {
      return (await client.list()).revision;
    } finally {
      await client.close();
    }
  };
  const { caFile } = certs;
  assert.equal(await revision({ caFile, ...certs.client, tokenFile }), '7');
  assert.equal(await revision({ caFile, ...certs.client, token: TOKEN }), '7');
  await assert.rejects(revision({ caFile, token: TOKEN }), /HTTP 403: a client certificate is needed/);
  await assert.rejects(revision({ caFile, ...certs.client }), /HTTP 401: a token is needed/);
  await assert.rejects(revision({ ...certs.client, token: TOKEN }), {
    message: `list the roll at ${url}: self-signed certificate in certificate chain; trust its authority with --agent-ca-file, caFile or NODE_EXTRA_CA_CERTS`,
  });
  const replaced = join(dir, 'ca');
  await assert.rejects(revision({ caFile: replaced, token: TOKEN }), {
    message: `cannot read the CA file ${replaced}: ENOENT: no such file or directory, open '${replaced}'`,
    retryable: false,
  });
  await copyFile(caFile, replaced);
  const kept = connect(url, { caFile: replaced, ...certs.client, tokenFile });
  t.after(() => kept.close());
  assert.equal((await kept.list()).revision, '7');
  for (const file of [replaced, tokenFile]) {
    await rm(file);
    await assert.rejects(kept.list(), { message: /: ENOENT: /, retryable: true }, 'it is missing while it is replaced');
    await writeFile(file, '');
    await assert.rejects(kept.list(), {
      message: `cannot read the ${file === replaced ? 'CA' : 'token'} file ${file}: it is empty`,
      retryable: true,
    });
    if (file === replaced) await copyFile(caFile, file);
    else await writeFile(file, TOKEN);
    assert.equal((await kept.list()).revision, '7');
  }
  const mixed = { caFile, token: TOKEN, certFile: certs.client.certFile, keyFile: certs.server.keyFile };
  await assert.rejects(
    revision(mixed),
    /key values mismatch; check the files of the certificate, its key and the authority$/,
  );
  const plain = connect(url.replace('https:', 'http:'), { token: TOKEN });
  t.after(() => plain.close());
  await assert.rejects(plain.list(), /: socket hang up; if the port speaks TLS, use https:\/\/$/);
  assert.throws(() => connect(url, { token: TOKEN, tokenFile }), /token and tokenFile are both set; remove one/);
  assert.throws(() => connect('etcd://127.0.0.1', { token: TOKEN }), /token is for an agent’s URL/);
  assert.throws(() => connect(url, { user: 'me' }), /user is for a store URL/);
});
