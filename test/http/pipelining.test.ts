import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Routes } from '../../src/http/reply.ts';
import { until } from '../support/machine-time.ts';
import { startServer } from './start-server.ts';

const PATIENCE_MS = 30_000;
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

/** A server that answers `/wait` when told to and everything else at once, and one connection to it. */
async function open(t: TestContext, more: Routes = {}) {
  const asked: string[] = [];
  const go = Promise.withResolvers<void>();
  const page = async ({ path }: { readonly path: string }) => {
    asked.push(path);
    if (path === '/wait') await go.promise;
    return { status: 200, contentType: 'text/plain', body: `this is ${path}` };
  };
  const routes = { '/wait': page, '/next': page, '/last': page, ...more };
  const { url } = await startServer(t, { routes, limits: { maxWaitingPerSocket: 2 } });
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  t.after(() => socket.destroy());
  let text = '';
  socket.setEncoding('utf8').on('data', (piece) => {
    text += piece;
  });
  socket.on('error', () => {}); // a server that stops reading resets the connection
  return { asked, go: () => go.resolve(), socket, text: () => text };
}

test('requests on one connection are answered in turn: none begins before the one ahead of it is sent', async (t) => {
  const { asked, go, socket, text } = await open(t);
  socket.write(get('/wait') + get('/next') + get('/last'));
  await until('the first is asked', PATIENCE_MS, () => asked.length > 0);
  await nextTurn();
  assert.deepEqual(asked, ['/wait']);
  go();
  await until('all are answered', PATIENCE_MS, () => text().endsWith('this is /last'));
  assert.match(text(), /this is \/wait[\s\S]*this is \/next[\s\S]*this is \/last$/);
  // The connection stays open for more.
  socket.write(get('/next'));
  await until('one more is answered', PATIENCE_MS, () => text().endsWith('this is /next'));
});

test('one request more than may wait is a 503 after the others, which ends the connection', async (t) => {
  const { asked, go, socket, text } = await open(t);
  socket.write(get('/wait') + get('/next').repeat(40));
  await until('the first is asked', PATIENCE_MS, () => asked.length > 0);
  go();
  await once(socket, 'close');
  assert.deepEqual(asked, ['/wait', '/next', '/next']);
  assert.deepEqual(text().match(/HTTP\/1\.1 \d+/g), [...Array(3).fill('HTTP/1.1 200'), 'HTTP/1.1 503']);
  assert.match(text(), /Connection: close\r\n[\s\S]*3 requests of this connection wait for an answer; the limit is 2/i);
});

test('what waits behind an answer that ends the connection is not begun', async (t) => {
  const { asked, socket, text } = await open(t);
  socket.write(`POST /wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx${get('/next').repeat(2)}`);
  await once(socket, 'close');
  assert.match(text(), /^HTTP\/1\.1 4\d\d .*\r\n[\s\S]*Connection: close/i);
  assert.deepEqual(asked, []);
});

test('a client that leaves takes its waiting requests with it', async (t) => {
  let opened = 0;
  let ended = 0;
  const { socket, text, asked } = await open(t, {
    '/events': ({ signal }) => {
      opened += 1;
      signal.addEventListener('abort', () => {
        ended += 1;
      });
      const body = (async function* () {
        yield 'first\n\n';
        await once(signal, 'abort');
      })();
      return { status: 200, contentType: 'text/event-stream', body, heartbeat: () => ':\n\n' };
    },
  });
  socket.write(get('/events') + get('/events') + get('/next'));
  await until('the stream is open', PATIENCE_MS, () => text().includes('first'));
  socket.destroy();
  await until('the stream has ended', PATIENCE_MS, () => ended > 0);
  await nextTurn();
  assert.deepEqual([opened, ended, asked], [1, 1, []]);
});

test('bytes that are no request do not become part of a later answer', async (t) => {
  const { asked, socket, text } = await open(t);
  socket.write(get('/next') + get('/wait'));
  await until('the second is asked', PATIENCE_MS, () => asked.includes('/wait') && text().endsWith('this is /next'));
  socket.write('no request\r\n\r\n');
  await once(socket, 'close');
  assert.deepEqual(text().match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200']);
});
