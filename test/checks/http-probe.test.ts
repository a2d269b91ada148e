import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { Observation } from '../../src/checks/check.ts';
import { httpProbe } from '../../src/checks/http-probe.ts';
import { makeEtcdCerts } from '../support/etcd-certs.ts';
import { scaledClock } from '../support/scaled-clock.ts';

describe('http probe', () => {
  async function withServer<T>(server: Server, work: (port: number) => Promise<T>): Promise<T> {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      return await work((server.address() as AddressInfo).port);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  /** Stretches 300 ms to three seconds, so that a slow test machine does not look like a server that hangs. */
  const slowClock = scaledClock(0.1);
  /** For a server that does hang. */
  const promptClock = scaledClock(1);

  async function runProbe(
    url: string,
    { signal = new AbortController().signal, clock = slowClock } = {},
  ): Promise<Observation> {
    const check = { name: 'web', url };
    const probe = httpProbe({ check, intervalMs: 1_000, timeoutMs: 300, clock });
    try {
      const { status, reason } = await probe.run(signal);
      return { status, reason: reason.replace(/127\.0\.0\.1:\d+/, 'HOST') };
    } finally {
      await probe.close();
    }
  }

  const seen = (answer: RequestListener, clock = slowClock) =>
    withServer(createServer(answer), (port) => runProbe(`http://127.0.0.1:${port}/health?key=secret`, { clock }));

  test('2xx is passing, 429 is warning, others are critical; the reason has no query', async () => {
    const status = (code: number) => seen((_, response) => response.writeHead(code).end('text'));
    assert.deepEqual(await status(200), { status: 'passing', reason: '' });
    assert.deepEqual(await status(204), { status: 'passing', reason: '' });
    assert.deepEqual(await status(429), { status: 'warning', reason: 'HTTP 429 from HOST/health' });
    assert.deepEqual(await status(503), { status: 'critical', reason: 'HTTP 503 from HOST/health' });
    assert.deepEqual(await status(404), { status: 'critical', reason: 'HTTP 404 from HOST/health' });
  });

  test('path and query are sent as configured, each time on a new connection', async () => {
    const asked: (string | undefined)[] = [];
    let connections = 0;
    const server = createServer((request, response) => {
      asked.push(request.method, request.url);
      response.end('fine');
    }).on('connection', () => (connections += 1));
    await withServer(server, async (port) => {
      const check = { name: 'web', url: `http://127.0.0.1:${port}/a?b=c` };
      const probe = httpProbe({ check, intervalMs: 1_000, timeoutMs: 2_000, clock: slowClock });
      for (let each = 0; each < 3; each += 1) await probe.run(new AbortController().signal);
      await probe.close();
    });
    assert.deepEqual([asked.join(' '), connections], ['GET /a?b=c GET /a?b=c GET /a?b=c', 3]);
  });

  test('a redirect is not followed', async () => {
    let requests = 0;
    const answer = await seen((_, response) => {
      requests += 1;
      response.writeHead(302, { location: '/elsewhere' }).end();
    });
    assert.deepEqual([answer.status, requests], ['critical', 1]);
    assert.match(answer.reason, /^HTTP 302 from HOST\/health; redirects are not followed$/);
  });

  test('a large body is passing and is not read to its end; a body that never ends is a timeout', async () => {
    let sentBytes = 0;
    const large = await seen((_, response) => {
      const chunk = Buffer.alloc(65_536);
      const send = () => {
        while (sentBytes < 50_000_000 && !response.destroyed) {
          sentBytes += chunk.length;
          if (!response.write(chunk)) return response.once('drain', send);
        }
        return response.end();
      };
      send();
    });
    assert.equal(large.status, 'passing');
    assert.ok(sentBytes < 20_000_000, `${sentBytes} bytes`);
    assert.deepEqual(await seen((_, response) => response.write('a'), promptClock), {
      status: 'critical',
      reason: 'no answer within 300ms',
    });
  });

  test('a server that refuses, hangs, closes the connection or does not speak HTTP is critical', async () => {
    const gone = await withServer(createServer(), async (port) => port);
    assert.deepEqual(await runProbe(`http://127.0.0.1:${gone}/`), {
      status: 'critical',
      reason: 'connection refused at HOST/',
    });
    assert.equal((await seen(() => {}, promptClock)).reason, 'no answer within 300ms');
    assert.match((await seen((request) => request.socket.destroy())).reason, /closed before an answer at HOST/);
    const babble = await seen((request) => request.socket.end('220 mail ready\r\n'));
    assert.equal(babble.status, 'critical');
    assert.doesNotMatch(babble.reason, /\n|secret/);
  });

  test('a TLS failure is what it means, without the texts of OpenSSL, which differ from process to process', async () => {
    const plain = createServer((_, response) => response.end());
    await withServer(plain, async (port) => {
      const { status, reason } = await runProbe(`https://127.0.0.1:${port}/`);
      assert.deepEqual([status, reason], ['critical', 'it does not speak TLS at HOST/']);
    });
    const certs = await makeEtcdCerts();
    try {
      const [key, cert] = await Promise.all([readFile(certs.server.keyFile), readFile(certs.server.certFile)]);
      const old = createTlsServer({ key, cert, maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'ALL@SECLEVEL=0' });
      await withServer(old, async (port) => {
        const { reason } = await runProbe(`https://127.0.0.1:${port}/`);
        assert.match(reason, /^TLS failed: [a-z0-9 ]+ at HOST\/$/);
      });
    } finally {
      await certs.dispose();
    }
  });

  test('an abort rejects with its reason', async () => {
    const controller = new AbortController();
    await withServer(
      createServer(() => controller.abort(new Error('leaving'))),
      (port) =>
        assert.rejects(runProbe(`http://127.0.0.1:${port}/`, { signal: controller.signal }), /^Error: leaving$/),
    );
  });

  test('HTTPS is passing with a trusted certificate and critical with an untrusted one', async () => {
    const certs = await makeEtcdCerts();
    try {
      const [key, cert] = await Promise.all([readFile(certs.server.keyFile), readFile(certs.server.certFile)]);
      const server = createTlsServer({ key, cert }, (_, response) => response.end());
      await withServer(server, async (port) => {
        const url = `https://127.0.0.1:${port}/`;
        const refused = await runProbe(url);
        assert.equal(refused.status, 'critical');
        assert.match(refused.reason, /certificate.* at HOST\/$/);
        // Node reads NODE_EXTRA_CA_CERTS only at its start.
        const module = new URL('../../src/checks/http-probe.ts', import.meta.url);
        const clock = new URL('../../src/lib/clock.ts', import.meta.url);
        const script = `
        import { httpProbe } from ${JSON.stringify(module)};
        import { systemClock } from ${JSON.stringify(clock)};
        const check = { name: 'web', url: ${JSON.stringify(url)} };
        const probe = httpProbe({ check, intervalMs: 9000, timeoutMs: 5000, clock: systemClock });
        console.log(JSON.stringify(await probe.run(new AbortController().signal)));
        await probe.close();`;
        const env = { ...process.env, NODE_EXTRA_CA_CERTS: certs.caFile };
        const run = promisify(execFile);
        const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { env });
        assert.deepEqual(JSON.parse(stdout), { status: 'passing', reason: '' });
      });
    } finally {
      await certs.dispose();
    }
  });
});
