import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { describe, test } from 'node:test';
import type { Routes } from '../../src/http/reply.ts';
import { hostAllowed, listenError } from '../../src/http/server.ts';
import { rawExchange } from '../support/raw-exchange.ts';
import { ask, assertProblem, startServer } from './start-server.ts';

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
  test('an answer has its length and headers against sniffing and caching', async (t) => {
    const { url } = await startServer(t);
    const { status, headers, text } = await ask(`${url}/hello?any=thing`);
    assert.deepEqual([status, text], [200, 'hello']);
    assert.equal(headers['content-length'], '5');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['cache-control'], 'no-store');
  });

  test('HEAD is answered like GET, without the body', async (t) => {
    const { url } = await startServer(t);
    const { status, headers, text } = await ask(`${url}/hello`, { method: 'HEAD' });
    assert.deepEqual([status, headers['content-length'], text], [200, '5', '']);
  });

  test('an unknown path is a 404 problem', async (t) => {
    const { url } = await startServer(t);
    await assertProblem(await ask(`${url}/v1/events?x=1`), 404, /unknown path/, '/v1/events');
  });

  test('a path is compared by segments with escapes decoded, and a parameter is one whole segment', async (t) => {
    const { url } = await startServer(t);
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
    const { url } = await startServer(t);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
      const answer = await ask(`${url}/hello`, { method });
      await assertProblem(answer, 405, new RegExp(method), '/hello');
      assert.equal(answer.headers.allow, 'GET, HEAD');
    }
    await assertProblem(await ask(`${url}/other`, { method: 'POST' }), 404, /unknown path/, '/other');
  });

  test('a request with a body is a 413, and its connection is closed', async (t) => {
    const { url } = await startServer(t);
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
    const { url } = await startServer(t);
    const head = 'POST /hello HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n';
    assert.match(await rawExchange(url, head), /^HTTP\/1\.1 405 /);
  });

  test('an invalid or too long path, and a proxy target, are refused', async (t) => {
    const { url } = await startServer(t);
    await assertProblem(await ask(`${url}/things/%zz`), 400, /percent-encoding/, '/things/%zz');
    await assertProblem(await ask(`${url}/${'x'.repeat(3_000)}`), 414, /limit is 2048/);
    const proxied = await rawExchange(
      url,
      'GET http://a.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    );
    assert.match(proxied, /^HTTP\/1\.1 400 [\s\S]*not a proxy/);
  });

  test('on loopback another Host is a 421, for every path and method', async (t) => {
    const { url } = await startServer(t);
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
    const { url } = await startServer(t, { listen: { host: '0.0.0.0', port: 0 } });
    const local = url.replace('0.0.0.0', '127.0.0.1');
    assert.equal((await ask(`${local}/hello`, { headers: { Host: 'node-7.example' } })).status, 200);
  });

  test('a handler that throws is a 500 without details; the error is passed to the log', async (t) => {
    const { url, errors } = await startServer(t);
    const answer = await ask(`${url}/broken`);
    await assertProblem(answer, 500, /internal error/, '/broken');
    assert.doesNotMatch(answer.text, /secret|\.ts|at /);
    assert.deepEqual(errors.map(String), ['Error: the secret cause']);
  });

  test('invalid bytes are a 400 problem and the connection is closed', async (t) => {
    const { url } = await startServer(t);
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
    const { url } = await startServer(t, { routes });
    const exchange = rawExchange(url, 'GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n\x00garbage\r\n\r\n');
    assert.equal(await exchange, '');
    go.resolve();
  });
});
