import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { readHealth } from '../../src/cli/health.ts';
import { problem } from '../../src/http/reply.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

async function serve(t: TestContext, listener: RequestListener): Promise<{ host: string; port: number }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

const never = new AbortController().signal;

test('200 is healthy; an agent on all addresses is reached on loopback', async (t) => {
  const { port } = await serve(t, (request, response) => response.end(request.url));
  const verdict = await readHealth({ host: '0.0.0.0', port }, systemClock, never);
  assert.deepEqual(verdict, { healthy: true, reason: `healthy: http://127.0.0.1:${port}/healthz` });
});

test('an agent on all addresses is reached on the loopback address that there is', async (t) => {
  const ipv6Only = createServer((_, response) => response.end()).listen({ host: '::1', port: 0, ipv6Only: true });
  await once(ipv6Only, 'listening');
  t.after(() => ipv6Only.close());
  const { port: on6 } = ipv6Only.address() as AddressInfo;
  const { port: on4 } = await serve(t, (_, response) => response.end());
  assert.equal((await readHealth({ host: '::', port: on6 }, systemClock, never)).healthy, true);
  assert.equal((await readHealth({ host: '::', port: on4 }, systemClock, never)).healthy, true);
  const { reason } = await readHealth({ host: '::', port: 1 }, systemClock, never);
  assert.match(reason, /ECONNREFUSED.*; is the agent running\?$/);
});

test('503 is unhealthy with the agent’s reason; any other answer is not from an agent', async (t) => {
  const reply = problem(503, 'loop publisher made no step for 61000 ms');
  const stuck = await serve(t, (_, response) => response.writeHead(503).end(reply.body));
  const verdict = await readHealth(stuck, systemClock, never);
  assert.equal(verdict.healthy, false);
  assert.match(verdict.reason, /answers HTTP 503: loop publisher made no step for 61000 ms$/);
  const foreign = await serve(t, (_, response) => response.writeHead(404).end('<html>'));
  assert.match(
    (await readHealth(foreign, systemClock, never)).reason,
    /HTTP 404: the answer is not from a rollcall agent; check --listen$/,
  );
});

test('another protocol is not an agent', async (t) => {
  const ssh = createNetServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')).listen(0, '127.0.0.1');
  await once(ssh, 'listening');
  t.after(() => ssh.close());
  const { port } = ssh.address() as AddressInfo;
  assert.match(
    (await readHealth({ host: '127.0.0.1', port }, systemClock, never)).reason,
    /: the answer is not from a rollcall agent; check --listen$/,
  );
});

test('an agent that does not run or does not answer is unhealthy, in one line', async (t) => {
  const gone = await serve(t, () => {});
  const clock = simulatedClock();
  const asking = readHealth(gone, clock, never);
  await clock.advance(3_000);
  assert.match((await asking).reason, /^cannot read http:\S+: no answer within 3000 ms$/);
  const plain = await serve(t, (_, response) => response.end());
  const overTls = await readHealth(plain, systemClock, never, import.meta.filename);
  assert.match(overTls.reason, /^cannot read https:\S+: the port does not speak TLS; leave --listen-cert-file out$/);
  const verdict = await readHealth({ host: '127.0.0.1', port: 1 }, systemClock, never);
  assert.equal(verdict.healthy, false);
  assert.match(verdict.reason, /ECONNREFUSED.*; is the agent running\?$/);
});
