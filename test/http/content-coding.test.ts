import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { MAX_COMPRESSING, wantsGzip } from '../../src/http/content-coding.ts';
import type { Reply, Routes } from '../../src/http/reply.ts';
import { until } from '../support/machine-time.ts';
import { ask, startServer } from './start-server.ts';

const GZIP = { headers: { 'accept-encoding': 'gzip' } };
const LARGE = JSON.stringify(Array.from({ length: 500 }, (_, n) => `node ${n}, ä`));

/** The bytes of the body, as they come. */
async function bytesOf(url: string, options: RequestOptions) {
  const req = request(url, { agent: false, ...options });
  req.end();
  const [res] = (await once(req, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of res) chunks.push(chunk);
  return { headers: res.headers, body: Buffer.concat(chunks) };
}

const reply = (body: Reply['body'], contentType = 'application/json', more: Partial<Reply> = {}): Routes => ({
  '/': () => ({ status: 200, contentType, body, ...more }),
});

test('gzip is wanted where it is named with at least the quality of no coding', () => {
  for (const header of ['gzip', 'x-gzip', 'deflate, GZIP;q=0.5, br', 'gzip ; q=1.000', '*', 'identity;q=0.5, *']) {
    assert.equal(wantsGzip(header), true, header);
  }
  const not = [
    undefined,
    '',
    'br',
    'gzip;q=0',
    'gzip;q=0.000, *',
    'gzip;q=0.5, identity',
    '*;q=0',
    'gzip;q=2',
    'gzip;q=',
  ];
  for (const header of not) assert.equal(wantsGzip(header), false, header);
});

describe('an answer in gzip', () => {
  test('is the same text, whether its body is whole or in pieces', async (t) => {
    const pieces = LARGE.match(/.{1,300}/gs) ?? [];
    assert.ok(pieces.length > 20);
    for (const body of [LARGE, Buffer.from(LARGE), pieces]) {
      const { url } = await startServer(t, { routes: reply(body) });
      const zipped = await bytesOf(url, GZIP);
      assert.equal(zipped.headers['content-encoding'], 'gzip');
      assert.equal(zipped.headers.vary, 'Accept-Encoding');
      assert.equal(gunzipSync(zipped.body).toString(), LARGE);
      assert.ok(zipped.body.length < LARGE.length / 3, `${zipped.body.length} bytes`);
      const plain = await ask(url);
      assert.deepEqual([plain.headers['content-encoding'], plain.headers.vary], [undefined, 'Accept-Encoding']);
      assert.equal(plain.text, LARGE);
      // To name its length or coding, the whole body would have to be made.
      const head = await ask(url, { method: 'HEAD', ...GZIP });
      assert.deepEqual([head.headers['content-encoding'], head.text], [undefined, '']);
    }
  });

  test('is not made of a small body, of a stream, of what is compressed, or of an image', async (t) => {
    const small = 'x'.repeat(1_023);
    const png = Buffer.alloc(5_000);
    for (const [routes, expected] of [
      [reply(small), small],
      [reply(['x'.repeat(1_000), 'x'.repeat(23)]), small],
      [reply([LARGE], 'text/event-stream', { heartbeat: () => ':\n\n' }), LARGE],
      [reply(LARGE, 'text/event-stream'), LARGE],
      [reply(png, 'image/png'), png.toString()],
    ] as const) {
      const { url } = await startServer(t, { routes });
      const answer = await bytesOf(url, GZIP);
      assert.equal(answer.headers['content-encoding'], undefined);
      assert.equal(answer.body.toString(), expected);
    }
    const { url } = await startServer(t, {
      routes: reply(LARGE, 'text/html', { headers: { 'Content-Encoding': 'gzip', Vary: 'Accept' } }),
    });
    const board = await bytesOf(url, GZIP);
    assert.equal(board.headers.vary, 'Accept');
    assert.equal(board.body.toString(), LARGE);
  });

  test('that fails half-way is cut off, so that it does not look complete', async (t) => {
    const routes: Routes = {
      '/half': () => ({
        status: 200,
        contentType: 'application/json',
        body: (function* () {
          yield LARGE;
          throw new Error('half-way');
        })(),
      }),
    };
    const { url, errors } = await startServer(t, { routes });
    await assert.rejects(bytesOf(`${url}/half`, GZIP));
    assert.deepEqual(errors.map(String), ['Error: half-way']);
  });

  test('is made only as fast as the client reads, and no further after it disconnects', async (t) => {
    let made = 0;
    const ended = Promise.withResolvers<void>();
    const routes: Routes = {
      '/large': () => ({
        status: 200,
        contentType: 'application/json',
        body: (function* () {
          try {
            // Random, so that its gzip is as large.
            for (; made < 2_000; made += 1) yield crypto.getRandomValues(new Uint8Array(32 * 1024));
          } finally {
            ended.resolve();
          }
        })(),
      }),
    };
    const { url, errors } = await startServer(t, { routes });
    const req = request(`${url}/large`, { agent: false, ...GZIP });
    req.end();
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    let before = -1;
    // A thread compresses, so the event loop may turn without a new piece.
    for (let still = 0; still < 20; still = made === before ? still + 1 : 0) {
      before = made;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.ok(made < 1_000, `${made} pieces were made without a reader`);
    res.destroy();
    await ended.promise;
    assert.ok(made < 1_000, `${made} pieces were made without a reader`);
    assert.deepEqual(errors, []);
  });
});

test('while many compressed answers are under way the next is sent as it is; once they have gone it is compressed', async (t) => {
  async function* endless(): AsyncGenerator<string, void, undefined> {
    for (;;) {
      yield LARGE;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  const { url } = await startServer(t, { routes: reply({ [Symbol.asyncIterator]: endless }) });
  const open = async () => {
    const req = request(url, { agent: false, ...GZIP }).on('error', () => {});
    t.after(() => req.destroy());
    req.end();
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    res.on('error', () => {});
    return { req, coding: res.headers['content-encoding'] };
  };
  const readers: Awaited<ReturnType<typeof open>>[] = [];
  for (let n = 0; n < MAX_COMPRESSING; n += 1) readers.push(await open());
  assert.deepEqual(new Set(readers.map(({ coding }) => coding)), new Set(['gzip']));
  assert.equal((await open()).coding, undefined);
  for (const { req } of readers) req.destroy();
  await until('they have gone', 10_000, async () => (await open()).coding === 'gzip');
});
