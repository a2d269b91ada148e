import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { startHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';

test('a client that does not read gets no heartbeat, and is cut as idle', async (t) => {
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
          // More than the system's buffers take.
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
