import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { writeStream } from '../../src/http/send-reply.ts';
import { startHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { rawExchange } from '../support/raw-exchange.ts';

describe('send heartbeats', () => {
  test('a client that does not read gets no heartbeat, and is disconnected as idle', async (t) => {
    const cut = Promise.withResolvers<void>();
    let beats = 0;
    const server = await startHttpServer({
      listen: { host: '127.0.0.1', port: 0 },
      clock: systemClock,
      onError: (error) => t.diagnostic(String(error)),
      limits: { socketIdleMs: 150 },
      routes: {
        '/': ({ signal }) => ({
          status: 200,
          contentType: 'text/plain',
          body: (async function* () {
            signal.addEventListener('abort', () => cut.resolve());
            // More than the kernel's buffers hold.
            yield 'x'.repeat(64 * 1024 * 1024);
          })(),
          heartbeat() {
            beats += 1;
            return '.';
          },
        }),
      },
    });
    t.after(() => server.close());
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    t.after(() => socket.destroy());
    socket.on('error', () => {});
    socket.pause();
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await cut.promise;
    assert.equal(beats, 0);
  });
});

describe('write stream', () => {
  /** The bytes that a client gets. */
  async function exchange(t: TestContext, request: string, pieces: readonly (string | Uint8Array)[]): Promise<string> {
    const server = createServer(async (_, res) => {
      res.writeHead(200, { Connection: 'close' });
      await writeStream(res, pieces, new AbortController().signal);
      res.end();
    });
    server.listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const answer = await rawExchange(`http://127.0.0.1:${port}`, request);
    return answer.slice(answer.indexOf('\r\n\r\n') + 4);
  }

  test('pieces are chunks of HTTP/1.1, the same bytes each time, with a final chunk', async (t) => {
    const shared = Buffer.from('ä\n\n');
    const body = await exchange(t, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', ['retry: 1\n\n', shared, shared]);
    assert.equal(body, 'a\r\nretry: 1\n\n\r\n4\r\nä\n\n\r\n4\r\nä\n\n\r\n0\r\n\r\n');
  });

  test('a client of HTTP/1.0, which has no chunks, gets the plain pieces', async (t) => {
    assert.equal(await exchange(t, 'GET / HTTP/1.0\r\n\r\n', ['a\n', Buffer.from('b\n')]), 'a\nb\n');
  });
});
