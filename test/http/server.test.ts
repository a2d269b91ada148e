import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import type { Routes } from '../../src/http/reply.ts';
import { type HttpServerOptions, hostAllowed, listenError, startHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { RollcallError } from '../../src/lib/errors.ts';
import { rawExchange } from '../support/raw-exchange.ts';

describe('host allowed', () => {
  const LOCAL = ['localhost', 'LOCALHOST:51690', '127.0.0.1', '127.0.0.1:51690', '127.1.2.3:1', '[::1]', '[::1]:51690'];
  const FOREIGN = [
    'evil.example',
    'evil.example:51690',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '10.0.0.1:51690',
    '127.0.0.1:51690:1',
    '127.0.0.1@evil.example',
    '[::1].evil.example',
    '[::2]',
    '',
  ];

  test('a server on loopback answers loopback hosts, with any port', () => {
    for (const listen of ['127.0.0.1', '127.0.0.9', '::1', 'localhost']) {
      for (const host of LOCAL) assert.equal(hostAllowed(listen, host), true, `${host} on ${listen}`);
    }
  });

  test('a server on loopback refuses any other host', () => {
    for (const listen of ['127.0.0.1', '::1', 'localhost']) {
      for (const host of FOREIGN) assert.equal(hostAllowed(listen, host), false, `${host} on ${listen}`);
    }
  });

  test('a server on any other address answers every host', () => {
    for (const host of [...LOCAL, ...FOREIGN]) assert.equal(hostAllowed('0.0.0.0', host), true, host);
  });

  test('a request without a host does not come from a browser and is answered', () => {
    assert.equal(hostAllowed('127.0.0.1', undefined), true);
  });
});

describe('listen error', () => {
  test('each cause is one line with the address and the next step', () => {
    for (const code of ['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN', 'ESOMETHING']) {
      const { message, cause } = listenError(
        '127.0.0.1:80',
        Object.assign(new Error(`bind ${code}`), { code }),
        'do this',
      );
      assert.match(message, /^listen on 127\.0\.0\.1:80: [^\n]+; do this$/);
      assert.equal(cause, undefined);
    }
  });

  test('an unknown cause has the system’s own text', () => {
    const { message } = listenError('[::1]:1', new Error('something\nodd'), 'do this');
    assert.equal(message, 'listen on [::1]:1: something odd; do this');
  });
});

describe('server', () => {
  const ROUTES: Routes = {
    '/hello': () => ({ status: 200, contentType: 'text/plain', body: 'hello' }),
    '/things/:id': ({ params }) => ({ status: 200, contentType: 'text/plain', body: `thing ${params['id']}` }),
    '/broken': () => {
      throw new Error('the secret cause');
    },
  };

  async function start(t: TestContext, options: Partial<HttpServerOptions> = {}) {
    const errors: unknown[] = [];
    const server = await startHttpServer({
      listen: { host: '127.0.0.1', port: 0 },
      routes: ROUTES,
      clock: systemClock,
      onError: (error) => errors.push(error),
      ...options,
    });
    t.after(() => server.close());
    return { ...server, errors };
  }

  async function ask(url: string, options: RequestOptions = {}, body = '') {
    const req = request(url, { agent: false, ...options });
    req.end(body);
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of res) text += chunk;
    return { status: res.statusCode, headers: res.headers, text };
  }

  /** Waits until a condition of the server holds; the test's timeout is the limit. */
  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setImmediate(resolve));
  }

  async function assertProblem(
    answer: Awaited<ReturnType<typeof ask>>,
    status: number,
    detail: RegExp,
    instance?: string,
  ) {
    assert.equal(answer.status, status);
    assert.equal(answer.headers['content-type'], 'application/problem+json');
    const problem = JSON.parse(answer.text);
    assert.equal(problem.status, status);
    assert.equal(problem.type, 'about:blank');
    assert.equal(typeof problem.title, 'string');
    assert.match(problem.detail, detail);
    assert.equal(problem.instance, instance);
  }

  test('an answer has its length and headers against sniffing and caching', async (t) => {
    const { url } = await start(t);
    const { status, headers, text } = await ask(`${url}/hello?any=thing`);
    assert.deepEqual([status, text], [200, 'hello']);
    assert.equal(headers['content-length'], '5');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['cache-control'], 'no-store');
  });

  test('HEAD is answered like GET, without the body', async (t) => {
    const { url } = await start(t);
    const { status, headers, text } = await ask(`${url}/hello`, { method: 'HEAD' });
    assert.deepEqual([status, headers['content-length'], text], [200, '5', '']);
  });

  test('an unknown path is a 404 problem', async (t) => {
    const { url } = await start(t);
    await assertProblem(await ask(`${url}/v1/events?x=1`), 404, /unknown path/, '/v1/events');
  });

  test('a path is compared by segments with escapes decoded, and a parameter is one whole segment', async (t) => {
    const { url } = await start(t);
    const answerTo = async (path: string) => (await ask(`${url}${path}`)).text;
    assert.equal(await answerTo('/%68ello'), 'hello');
    assert.equal(await answerTo('/things/i-1'), 'thing i-1');
    assert.equal(await answerTo('/things/a%2Fb%20c+d'), 'thing a/b c+d');
    assert.equal(await answerTo('/things/'), 'thing ');
    for (const path of ['/hello/', '/Hello', '/things', '/things/a/b', '/things%2Fa', '//hello']) {
      assert.equal((await ask(`${url}${path}`)).status, 404, path);
    }
  });

  test('another method is a 405 with Allow on a known path, else a 404', async (t) => {
    const { url } = await start(t);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
      const answer = await ask(`${url}/hello`, { method });
      await assertProblem(answer, 405, new RegExp(method), '/hello');
      assert.equal(answer.headers.allow, 'GET, HEAD');
    }
    await assertProblem(await ask(`${url}/other`, { method: 'POST' }), 404, /unknown path/, '/other');
  });

  test('a request with a body is a 413, and its connection is closed', async (t) => {
    const { url } = await start(t);
    const agent = new Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    assert.equal((await ask(`${url}/hello`, { agent })).headers.connection, 'keep-alive');
    const announced = await ask(`${url}/hello`, { agent, headers: { 'Content-Length': 3 } }, 'abc');
    await assertProblem(announced, 413, /request bodies are not allowed/, '/hello');
    assert.equal(announced.headers.connection, 'close');
    const chunked = await ask(`${url}/hello`, { agent, headers: { 'Transfer-Encoding': 'chunked' } }, 'abc');
    await assertProblem(chunked, 413, /request bodies are not allowed/, '/hello');
    assert.equal(chunked.headers.connection, 'close');
    const posted = await ask(`${url}/hello`, { agent, method: 'POST', headers: { 'Content-Length': 3 } }, 'abc');
    assert.deepEqual([posted.status, posted.headers.connection], [405, 'close']);
  });

  test('a request with Expect: 100-continue is refused without its body', async (t) => {
    const { url } = await start(t);
    const head = 'POST /hello HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n';
    assert.match(await rawExchange(url, head), /^HTTP\/1\.1 405 /);
  });

  test('an invalid or too long path, and a proxy target, are refused', async (t) => {
    const { url } = await start(t);
    await assertProblem(await ask(`${url}/things/%zz`), 400, /percent-encoding/, '/things/%zz');
    await assertProblem(await ask(`${url}/${'x'.repeat(3_000)}`), 414, /limit is 2048/);
    const proxied = await rawExchange(
      url,
      'GET http://a.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    );
    assert.match(proxied, /^HTTP\/1\.1 400 [\s\S]*not a proxy/);
  });

  test('on loopback another Host is a 421, for every path and method', async (t) => {
    const { url } = await start(t);
    for (const [path, method] of [
      ['/hello', 'GET'],
      ['/nowhere', 'POST'],
    ] as const) {
      const answer = await ask(`${url}${path}`, { method, headers: { Host: 'rebound.example:51690' } });
      await assertProblem(answer, 421, /rebound\.example.*use localhost/);
    }
    assert.equal((await ask(`${url}/hello`, { headers: { Host: 'localhost:1' } })).status, 200);
  });

  test('on all addresses every Host is answered', async (t) => {
    const { url } = await start(t, { listen: { host: '0.0.0.0', port: 0 } });
    const local = url.replace('0.0.0.0', '127.0.0.1');
    assert.equal((await ask(`${local}/hello`, { headers: { Host: 'node-7.example' } })).status, 200);
  });

  test('a handler that throws is a 500 without details; the error is passed to the log', async (t) => {
    const { url, errors } = await start(t);
    const answer = await ask(`${url}/broken`);
    await assertProblem(answer, 500, /internal error/, '/broken');
    assert.doesNotMatch(answer.text, /secret|\.ts|at /);
    assert.deepEqual(errors.map(String), ['Error: the secret cause']);
  });

  test('a body that fails half-way is cut off, so that it does not look complete', async (t) => {
    const routes: Routes = {
      '/half': () => ({
        status: 200,
        contentType: 'text/plain',
        body: (function* () {
          yield 'first';
          throw new Error('half-way');
        })(),
      }),
    };
    const { url, errors } = await start(t, { routes });
    await assert.rejects(ask(`${url}/half`), { code: 'ECONNRESET' });
    assert.deepEqual(errors.map(String), ['Error: half-way']);
  });

  test('a body in pieces is read only as fast as the client reads, and no further after it disconnects', async (t) => {
    let made = 0;
    let ended = false;
    let signal: AbortSignal | undefined;
    const routes: Routes = {
      '/large': (asked) => {
        signal = asked.signal;
        return {
          status: 200,
          contentType: 'text/plain',
          body: (function* () {
            try {
              for (; made < 1_000; made += 1) yield 'x'.repeat(64 * 1024);
            } finally {
              ended = true;
            }
          })(),
        };
      },
    };
    const { url, errors } = await start(t, { routes });
    const req = request(`${url}/large`, { agent: false });
    req.end();
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    // The response is not read, so the server fills the buffers and waits.
    let before = -1;
    for (let still = 0; still < 20; still = made === before ? still + 1 : 0) {
      before = made;
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(made < 500, `${made} pieces were made without a reader`);
    assert.equal(signal?.aborted, false);
    res.destroy();
    await until(() => ended);
    assert.equal(signal?.aborted, true);
    assert.ok(made < 500, `${made} pieces were made without a reader`);
    assert.deepEqual(errors, []);
  });

  test('a large answer yields to the event loop between two pieces, however fast the client reads', async (t) => {
    let made = 0;
    let madeInOneTurn = 0;
    const routes: Routes = {
      '/large': () => ({
        status: 200,
        contentType: 'text/plain',
        body: (function* () {
          setImmediate(() => {
            madeInOneTurn = made;
          });
          for (; made < 10; made += 1) yield 'x'.repeat(64 * 1024);
        })(),
      }),
    };
    const { url } = await start(t, { routes });
    assert.equal((await ask(`${url}/large`)).text.length, 10 * 64 * 1024);
    assert.ok(madeInOneTurn <= 1, `${madeInOneTurn} pieces in one turn`);
  });

  test('a client that disconnects aborts the handler, and the handler’s error is ignored', async (t) => {
    const outcome = Promise.withResolvers<unknown>();
    const started = Promise.withResolvers<void>();
    const routes: Routes = {
      '/waits': async ({ signal }) => {
        started.resolve();
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('left')))).catch(
          (error) => {
            outcome.resolve(error);
            throw error;
          },
        );
        throw new Error('unreachable');
      },
    };
    const { url, errors } = await start(t, { routes });
    const req = request(`${url}/waits`, { agent: false });
    req.on('error', () => {});
    req.end();
    await started.promise;
    req.destroy();
    assert.equal(String(await outcome.promise), 'Error: left');
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(errors, []);
  });

  test('invalid bytes are a 400 problem and the connection is closed', async (t) => {
    const { url } = await start(t);
    for (const bytes of [
      '\x16\x03\x01\x02garbage\r\n\r\n',
      'GET\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
      'GET / HTTP/1.1\r\nHost : x\r\n\r\n',
    ]) {
      const answer = await rawExchange(url, bytes);
      assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.match(answer, /Content-Type: application\/problem\+json\r\n/);
      assert.match(answer, /Connection: close\r\n/);
      assert.match(answer, /"status":400/);
    }
    assert.equal((await ask(`${url}/hello`)).status, 200);
  });

  test('invalid bytes after a request do not get into its answer', async (t) => {
    const go = Promise.withResolvers<void>();
    const routes: Routes = {
      '/slow': async () => {
        await go.promise;
        return { status: 200, contentType: 'text/plain', body: 'slow' };
      },
    };
    const { url } = await start(t, { routes });
    const exchange = rawExchange(url, 'GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n\x00garbage\r\n\r\n');
    assert.equal(await exchange, '');
    go.resolve();
  });

  test('headers beyond the limit are a 431', async (t) => {
    const { url } = await start(t);
    const answer = await rawExchange(
      url,
      `GET /hello HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(9_000)}\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 431 /);
    assert.match(answer, /application\/problem\+json/);
  });

  test('a request that arrives too slowly is ended by the header limit', async (t) => {
    const { url } = await start(t, { limits: { headersTimeoutMs: 50, requestTimeoutMs: 30_000, checkIntervalMs: 20 } });
    const answer = await rawExchange(url, 'GET /hello HTTP/1.1\r\nHost: localhost\r\nX-Slow: ');
    assert.match(answer, /^HTTP\/1\.1 408 /);
  });

  test('an idle connection is closed at the keep-alive limit', async (t) => {
    const { url } = await start(t, { limits: { keepAliveTimeoutMs: 50 } });
    const answer = await rawExchange(url, 'GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n');
    assert.match(answer, /^HTTP\/1\.1 200 [\s\S]*keep-alive[\s\S]*hello$/);
  });

  test('a client that stops reading is disconnected', async (t) => {
    const closed = Promise.withResolvers<void>();
    const routes: Routes = {
      '/large': ({ signal }) => {
        signal.addEventListener('abort', () => closed.resolve());
        return {
          status: 200,
          contentType: 'text/plain',
          body: Array.from({ length: 1_000 }, () => 'x'.repeat(64 * 1024)),
        };
      },
    };
    const { url } = await start(t, { routes, limits: { socketIdleMs: 100 } });
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    t.after(() => socket.destroy());
    socket.on('error', () => {});
    socket.pause();
    socket.write('GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await closed.promise;
  });

  test('connections beyond the limit are dropped, and the others are answered', async (t) => {
    const { url } = await start(t, { limits: { maxConnections: 1 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    assert.equal((await ask(`${url}/hello`, { agent })).status, 200);
    assert.equal(await rawExchange(url, 'GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n'), '');
    assert.equal((await ask(`${url}/hello`, { agent })).status, 200);
  });

  test('a port in use, a foreign address and a bad port are one line each', async (t) => {
    const { url } = await start(t);
    const failure = async (host: string, port: number): Promise<string> => {
      try {
        await start(t, { listen: { host, port } });
      } catch (error) {
        assert.ok(error instanceof RollcallError);
        return error.message;
      }
      return 'it listens';
    };
    const { port } = new URL(url);
    assert.match(
      await failure('127.0.0.1', Number(port)),
      new RegExp(`^listen on 127.0.0.1:${port}: the port is in use; .*--listen`),
    );
    assert.match(
      await failure('192.0.2.1', 0),
      /^listen on 192\.0\.2\.1:0: this machine has no such address; .*--listen/,
    );
    assert.match(await failure('127.0.0.1', 70_000), /^listen on 127\.0\.0\.1:70000: .*--listen/);
  });

  test('close ends idle connections at once', async () => {
    const server = await startHttpServer({
      listen: { host: '127.0.0.1', port: 0 },
      routes: ROUTES,
      clock: systemClock,
      onError: () => {},
      limits: { closeGraceMs: 60_000 },
    });
    const agent = new Agent({ keepAlive: true });
    await ask(`${server.url}/hello`, { agent });
    await server.close();
    await server.close();
    agent.destroy();
    await assert.rejects(ask(`${server.url}/hello`), { code: 'ECONNREFUSED' });
  });

  test('close waits for answers in progress, up to the grace', async (t) => {
    const go = Promise.withResolvers<void>();
    const asked = { '/soon': Promise.withResolvers<void>(), '/never': Promise.withResolvers<void>() };
    const routes: Routes = {
      '/soon': async () => {
        asked['/soon'].resolve();
        await go.promise;
        return { status: 200, contentType: 'text/plain', body: 'done' };
      },
      '/never': () => {
        asked['/never'].resolve();
        return new Promise(() => {});
      },
    };
    const { url, close } = await start(t, { routes, limits: { closeGraceMs: 200 } });
    const agent = new Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const soon = ask(`${url}/soon`, { agent });
    const never = assert.rejects(ask(`${url}/never`), { code: 'ECONNRESET' });
    await Promise.all([asked['/soon'].promise, asked['/never'].promise]);
    const startMs = performance.now();
    const closing = close();
    go.resolve();
    const { text, headers } = await soon;
    assert.deepEqual([text, headers.connection], ['done', 'close']);
    await closing;
    await never;
    // The other answer never comes.
    assert.ok(performance.now() - startMs < 20_000);
  });
});
