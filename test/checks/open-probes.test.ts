import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CheckConfig } from '../../src/checks/probe.ts';
import { openProbes } from '../../src/checks/run-probes.ts';
import { systemClock } from '../../src/lib/clock.ts';

const config: CheckConfig = {
  dockerSocket: null,
  disk: { path: '/', warningPercent: 15, criticalPercent: 5 },
  http: [{ name: 'web', url: 'http://127.0.0.1:1/' }],
  exec: [{ name: 'own', argv: ['true'] }],
  intervalMs: 10_000,
  timeoutMs: 5_000,
  rise: 2,
  fall: 3,
};

async function names(overrides: Partial<CheckConfig>): Promise<string[]> {
  const opened = openProbes({ ...config, ...overrides }, { clock: systemClock, env: {} });
  await opened.close();
  return opened.probes.map((probe) => probe.name);
}

test('there is a probe for each check that is configured, with the interval and timeout of all', async () => {
  assert.deepEqual(await names({}), ['disk', 'web', 'own']);
  assert.deepEqual(await names({ disk: null, http: [], exec: [] }), []);
  const { probes, close } = openProbes(config, { clock: systemClock, env: {} });
  for (const probe of probes) assert.deepEqual([probe.intervalMs, probe.timeoutMs], [10_000, 5_000]);
  await close();
});

test('docker is checked only where its socket is at the start', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-open-'));
  const socket = join(dir, 'docker.sock');
  const server = createServer((_, response) => response.end('OK')).listen(socket);
  try {
    await once(server, 'listening');
    await writeFile(join(dir, 'file'), '');
    assert.deepEqual(await names({ dockerSocket: socket }), ['docker', 'disk', 'web', 'own']);
    for (const path of [join(dir, 'none'), join(dir, 'file'), join(dir, 'file', 'below'), dir]) {
      assert.deepEqual(await names({ dockerSocket: path }), ['disk', 'web', 'own'], path);
    }
    const { probes, close } = openProbes({ ...config, dockerSocket: socket }, { clock: systemClock, env: {} });
    assert.equal((await probes[0]?.look(new AbortController().signal))?.status, 'passing');
    await close();
  } finally {
    server.close();
    await rm(dir, { recursive: true });
  }
});

test('commands run in the environment that was given', async () => {
  const exec = [{ name: 'own', argv: ['sh', '-c', 'echo "$WHO"; exit 1'] as const }];
  const env = { PATH: process.env['PATH'], WHO: 'operator' };
  const { probes, close } = openProbes({ ...config, disk: null, http: [], exec }, { clock: systemClock, env });
  assert.equal((await probes[0]?.look(new AbortController().signal))?.reason, 'operator');
  await close();
});
