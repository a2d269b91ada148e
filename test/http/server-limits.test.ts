import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import type { Routes } from '../../src/http/reply.ts';
import { startHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { RollcallError } from '../../src/lib/errors.ts';
import { timed } from '../support/machine-time.ts';
import { rawExchange } from '../support/raw-exchange.ts';
import { ask, ROUTES, startServer } from './start-server.ts';

describe('limits, start and end of a server', () => {
  test('headers beyond the limit are a 431', async (t) => {
    const { url } = await startServer(t);
    const answer = await rawExchange(
      url,
      `GET /hello HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(9_000)}\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 431 /);
    assert.match(answer, /application\/problem\+json/);
  });

  test('a request that arrives too slowly is ended by the header limit', async (t) => {
    const { url } = await startServer(t, {
      limits: { headersTimeoutMs: 50, requestTimeoutMs: 30_000, checkIntervalMs: 20 },
    });
    const answer = await rawExchange(url, 'GET /hello HTTP/1.1\r\nHost: localhost\r\nX-Slow: ');
    assert.match(answer, /^HTTP\/1\.1 408 /);
  });

  test('an idle connection is closed at the keep-alive limit', async (t) => {
    const { url } = await startServer(t, { limits: { keepAliveTimeoutMs: 50 } });
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
    const { url } = await startServer(t, { routes, limits: { socketIdleMs: 100 } });
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    t.after(() => socket.destroy());
    socket.on('error', () => {});
    socket.pause();
    socket.write('GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await closed.promise;
  });

  test('connections beyond the limit are dropped, and the others are answered', async (t) => {
    const { url } = await startServer(t, { limits: { maxConnections: 1 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    assert.equal((await ask(`${url}/hello`, { agent })).status, 200);
    assert.equal(await rawExchange(url, 'GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n'), '');
    assert.equal((await ask(`${url}/hello`, { agent })).status, 200);
  });

  test('a port in use, a foreign address and a bad port are one line each', async (t) => {
    const { url } = await startServer(t);
    const failure = async (host: string, port: number): Promise<string> => {
      try {
        await startServer(t, { listen: { host, port } });
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
    const { url, close } = await startServer(t, { routes, limits: { closeGraceMs: 200 } });
    const agent = new Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const soon = ask(`${url}/soon`, { agent });
    const never = assert.rejects(ask(`${url}/never`), { code: 'ECONNRESET' });
    await Promise.all([asked['/soon'].promise, asked['/never'].promise]);
    const closing = timed(close());
    go.resolve();
    const { text, headers } = await soon;
    assert.deepEqual([text, headers.connection], ['done', 'close']);
    const [, tookMs] = await closing;
    await never;
    // The other answer never comes.
    assert.ok(tookMs < 20_000, `${tookMs} ms`);
  });
});
