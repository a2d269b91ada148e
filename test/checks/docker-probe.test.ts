import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Observation } from '../../src/checks/check.ts';
import { dockerProbe } from '../../src/checks/docker-probe.ts';
import { scaledClock } from '../support/scaled-clock.ts';

describe('docker probe', () => {
  /** Stretches 300 ms to three seconds, so that a slow test machine does not look like a docker that hangs. */
  const slowClock = scaledClock(0.1);
  /** For a docker that does hang. */
  const promptClock = scaledClock(1);

  /** The probe's result for a docker with this answer. */
  async function seen(answer: RequestListener, clock = slowClock): Promise<Observation> {
    const dir = await mkdtemp(join(tmpdir(), 'rollcall-docker-'));
    const socketPath = join(dir, 'docker.sock');
    const server = createServer(answer).listen(socketPath);
    await once(server, 'listening');
    const probe = dockerProbe({ socketPath, intervalMs: 1_000, timeoutMs: 300, clock });
    try {
      const { reason, status } = await probe.run(new AbortController().signal);
      return { status, reason: reason.replaceAll(dir, '') };
    } finally {
      await probe.close();
      server.closeAllConnections();
      server.close();
      await rm(dir, { recursive: true });
    }
  }

  test('docker is passing only if its ping answers OK', async () => {
    const asked: (string | undefined)[] = [];
    const healthy = await seen((request, response) => {
      asked.push(request.method, request.url, request.headers.connection);
      response.end('OK');
    });
    assert.deepEqual(healthy, { status: 'passing', reason: '' });
    assert.deepEqual(asked, ['GET', '/_ping', 'close']);
    assert.deepEqual(await seen((_, response) => response.end('<html>')), {
      status: 'critical',
      reason: 'docker /_ping does not answer OK at /docker.sock',
    });
    assert.deepEqual(await seen((_, response) => response.writeHead(500).end('OK')), {
      status: 'critical',
      reason: 'docker /_ping answers HTTP 500',
    });
  });

  test('a docker that hangs, closes the connection or sends too much is critical', async () => {
    assert.equal((await seen(() => {}, promptClock)).reason, 'no answer within 300ms');
    assert.equal(
      (await seen((request) => request.socket.destroy())).reason,
      'the connection was closed before an answer at /docker.sock',
    );
    assert.equal((await seen((_, response) => response.end('x'.repeat(1_000_000)))).status, 'critical');
  });

  test('a docker that is gone is critical, with or without its socket file', async () => {
    const runProbe = async (socketPath: string) => {
      const probe = dockerProbe({ socketPath, intervalMs: 1_000, timeoutMs: 300, clock: slowClock });
      const observation = await probe.run(new AbortController().signal);
      await probe.close();
      return observation.reason;
    };
    assert.equal(await runProbe('/nonexistent/docker.sock'), 'no such socket at /nonexistent/docker.sock');
    const dir = await mkdtemp(join(tmpdir(), 'rollcall-docker-'));
    try {
      const path = join(dir, 'docker.sock');
      // A killed process leaves its socket file behind.
      const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
      await once(spawn(process.execPath, ['-e', script]), 'exit');
      assert.equal(await runProbe(path), `connection refused at ${path}`);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
