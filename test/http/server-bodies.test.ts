import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { describe, test } from 'node:test';
import type { Routes } from '../../src/http/reply.ts';
import { ask, startServer } from './start-server.ts';

describe('bodies that a server sends in pieces', () => {
  /** Waits until a condition of the server holds; the test's timeout is the limit. */
  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setImmediate(resolve));
  }

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
    const { url, errors } = await startServer(t, { routes });
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
    const { url, errors } = await startServer(t, { routes });
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
    const { url } = await startServer(t, { routes });
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
    const { url, errors } = await startServer(t, { routes });
    const req = request(`${url}/waits`, { agent: false });
    req.on('error', () => {});
    req.end();
    await started.promise;
    req.destroy();
    assert.equal(String(await outcome.promise), 'Error: left');
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(errors, []);
  });
});
