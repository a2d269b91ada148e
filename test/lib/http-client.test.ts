import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { BodyTooLargeError } from '../../src/lib/errors.ts';
import { boundedGunzip, boundedRequest, NoConnectionError, openHttpPool } from '../../src/lib/http-client.ts';
import { until } from '../support/machine-time.ts';

const PATIENCE_MS = 10_000;

async function serve(t: TestContext, listener: RequestListener): Promise<{ server: Server; origin: string }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close() && server.closeAllConnections());
  return { server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

function poolOf(t: TestContext, origin: string, options: Partial<Parameters<typeof openHttpPool>[1]> = {}) {
  const pool = openHttpPool(origin, { connections: 2, connectTimeoutMs: PATIENCE_MS, ...options });
  t.after(() => pool.destroy());
  const get = (path = '/', { maxBytes = 1_000, signal = new AbortController().signal } = {}) =>
    boundedRequest(pool, { method: 'GET', path, maxBytes, signal });
  return { pool, get };
}

test('a pool keeps its connections, and opens no more than it may', async (t) => {
  const sockets = new Set<Socket>();
  const { origin } = await serve(t, (req, res) => {
    sockets.add(req.socket);
    setImmediate(() => res.end(`${req.method} ${req.url}`));
  });
  const { get } = poolOf(t, origin);
  const answers = await Promise.all(Array.from({ length: 9 }, (_, n) => get(`/${n}?x=1`)));
  assert.deepEqual(
    answers.map(({ status, text }) => `${status} ${text}`),
    Array.from({ length: 9 }, (_, n) => `200 GET /${n}?x=1`),
  );
  assert.equal(sockets.size, 2);
});

test('a request that meets a kept connection which the server closes just then goes out again', async (t) => {
  let served = 0;
  const { origin } = await serve(t, (req, res) => {
    served += 1;
    // Every second request on a connection meets its end, without an answer.
    if (sawBefore(req.socket)) req.socket.destroy();
    else res.end('ok');
  });
  const { get } = poolOf(t, origin);
  for (let n = 0; n < 3; n += 1) assert.equal((await get()).text, 'ok');
  assert.equal(served, 5);
});

const seen = new WeakSet<Socket>();
function sawBefore(socket: Socket): boolean {
  const before = seen.has(socket);
  seen.add(socket);
  return before;
}

test('a new connection that is closed without an answer is a failure', async (t) => {
  let served = 0;
  const { origin } = await serve(t, (req) => {
    served += 1;
    req.socket.destroy();
  });
  await assert.rejects(poolOf(t, origin).get(), { code: 'ECONNRESET' });
  assert.equal(served, 1);
});

test('a body above the limit, or one that is cut short, is an error', async (t) => {
  const { origin } = await serve(t, (req, res) => {
    if (req.url === '/large') return res.end('x'.repeat(1_001));
    res.writeHead(200, { 'content-length': '10' }).write('four');
    return setImmediate(() => res.destroy());
  });
  const { get } = poolOf(t, origin);
  await assert.rejects(get('/large'), BodyTooLargeError);
  assert.equal((await get('/large', { maxBytes: 1_001 })).text.length, 1_001);
  await assert.rejects(get('/cut'), { code: 'ECONNRESET' });
});

test('a compressed body is bounded before and after, and an error where it is none or cut short', async (t) => {
  const bomb = gzipSync(Buffer.alloc(8 * 1024 * 1024));
  const noise = gzipSync(Buffer.alloc(2_000, 'äß'), { level: 0 });
  const bodies: Readonly<Record<string, Buffer>> = {
    '/good': gzipSync('grün\n'.repeat(100)),
    '/bomb': bomb,
    // Nothing comes of these members: only the limit of the compressed bytes ends them.
    '/empty': Buffer.concat(Array.from({ length: 200 }, () => gzipSync(''))),
    '/noise': noise,
    '/plain': Buffer.from('not compressed'),
    '/short': noise.subarray(0, 200),
  };
  const open = new Set<Socket>();
  const { server, origin } = await serve(t, (req, res) => {
    // More could come: only the client can end it.
    if (req.url === '/bomb') return res.write(bomb);
    if (req.url !== '/cut') return res.end(bodies[req.url ?? '']);
    res.writeHead(200, { 'content-length': String(noise.length) }).write(noise.subarray(0, 200));
    return setImmediate(() => res.destroy());
  });
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  const { pool } = poolOf(t, origin, { connections: 1 });
  const get = async (path: string, maxBytes = 1_000) => {
    const { signal } = new AbortController();
    return boundedGunzip(await pool.request({ method: 'GET', path, signal }), maxBytes);
  };
  assert.equal(await get('/good'), 'grün\n'.repeat(100));
  assert.ok(bomb.length < 16_384, 'the bomb is small');
  await assert.rejects(get('/bomb', 16_384), BodyTooLargeError);
  await until('the connection is closed', PATIENCE_MS, () => open.size === 0);
  await assert.rejects(get('/empty'), BodyTooLargeError);
  await assert.rejects(get('/noise'), BodyTooLargeError);
  await assert.rejects(get('/plain'), { name: 'SyntaxError', message: /is not the gzip/ });
  await assert.rejects(get('/short'), { name: 'SyntaxError', message: /is not the gzip/ });
  await assert.rejects(get('/cut'), { code: 'ECONNRESET' });
});

test('the signal ends a request before its answer and within its body, and frees the connection', async (t) => {
  const open = new Set<Socket>();
  let asked = 0;
  const { server, origin } = await serve(t, (req, res) => {
    asked += 1;
    if (req.url === '/body') res.write('one piece');
  });
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  const { get } = poolOf(t, origin, { connections: 1 });
  for (const path of ['/silent', '/body']) {
    const abort = new AbortController();
    const before = asked;
    const answer = get(path, { signal: abort.signal });
    answer.catch(() => {});
    await until('the server has the request', PATIENCE_MS, () => asked > before);
    abort.abort(new Error(`enough of ${path}`));
    await assert.rejects(answer, { message: `enough of ${path}` });
    await until('the connection is closed', PATIENCE_MS, () => open.size === 0);
  }
  const aborted = AbortSignal.abort(new Error('too late'));
  await assert.rejects(get('/silent', { signal: aborted }), { message: 'too late' });
  assert.equal(asked, 2);
});

test('closing the pool fails what is under way', async (t) => {
  let asked = 0;
  const { origin } = await serve(t, (_, res) => {
    asked += 1;
    res.write('one piece');
  });
  const { pool, get } = poolOf(t, origin, { connections: 1 });
  const answers = [get('/first'), get('/waiting')];
  for (const answer of answers) answer.catch(() => {});
  await until('the server has the request', PATIENCE_MS, () => asked === 1);
  await pool.destroy();
  for (const answer of answers) await assert.rejects(answer, { code: 'ECONNRESET' });
});

test('a host that accepts no connection is given up after the limit', async (t) => {
  // A TLS handshake that never goes on stands for it: a connection that is never accepted cannot be had on loopback.
  const server = createTcpServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { get, pool } = poolOf(t, `https://127.0.0.1:${(server.address() as AddressInfo).port}`, {
    connectTimeoutMs: 50,
  });
  await assert.rejects(get(), NoConnectionError);
  await pool.destroy();
});

test('an answer of HTTP 101 is a failure', async (t) => {
  const server = createTcpServer((socket) => {
    socket.end('HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { get } = poolOf(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const signal = AbortSignal.timeout(PATIENCE_MS);
  await assert.rejects(get('/', { signal }), /the answer is HTTP 101, which was not asked for/);
});
