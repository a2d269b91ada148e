import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../support/etcd-ports.ts';
import { until } from '../support/machine-time.ts';
import { CLEAN_ENV, getJson, rollcall } from '../support/rollcall-process.ts';

const DEMO = fileURLToPath(new URL('../../scripts/demo', import.meta.url));

/** Command lines of all processes that mention `text`. */
async function processesWith(text: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '')));
  return lines.filter((line) => line.includes(text));
}

/** The first of three free ports in a row: the demo may run a second time on this machine, at its own ports. */
async function threeFreePorts(): Promise<number> {
  for (;;) {
    const [first = 0, , third] = await freePorts(3);
    if (third === first + 2) return first;
  }
}

test('the demo prints ip, instance and arn of three nodes, answers HTTP, and leaves nothing behind after Ctrl-C', async (t) => {
  // Ctrl-C reaches the whole process group, so the demo gets one of its own.
  const env = { ...CLEAN_ENV, ROLLCALL_LISTEN_BASE: String(await threeFreePorts()) };
  const demo = spawn(DEMO, [], { detached: true, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const group = -(demo.pid ?? 0);
  t.after(() => {
    if (demo.exitCode === null) process.kill(group, 'SIGKILL');
  });
  let stdout = '';
  demo.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  let stderr = '';
  demo.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  await until('the demo is up, or has ended', 60_000, () => stdout.includes('Ctrl-C') || demo.exitCode !== null);
  assert.match(stdout, /Ctrl-C/, stderr);
  const rows = stdout
    .split('\n')
    .filter((line) => /^10\.113\.0\.\d+ +i-[0-9a-f]{17} +passing +arn:aws:ecs:/.test(line));
  assert.equal(rows.length, 3, stdout);

  const store = /sqlite:\S+/.exec(stdout)?.[0] ?? '';
  const columns = await rollcall(['list', '--fields=ip,instance,arn', '--no-legend', '--store', store]);
  for (const line of columns.stdout.trim().split('\n')) assert.match(line, /^\S+ +i-\S+ +arn:aws:ecs:\S+$/);
  const url = /http:\S+\/v1\/containerInstances/.exec(stdout)?.[0] ?? '';
  const board = /http:\S+:\d+\/$/m.exec(stdout)?.[0] ?? '';
  const page = await fetch(board, { headers: { accept: 'text/html' } });
  assert.match(await page.text(), /^<!doctype html>/);
  const answer = await getJson(url);
  assert.equal(answer.body.containerInstances.length, 3);

  process.kill(group, 'SIGINT');
  const [code] = await once(demo, 'exit');
  assert.equal(code, 130);
  assert.deepEqual(await processesWith(store), []);
  const left = (await readdir(tmpdir())).filter((name) => store.includes(`/${name}/`));
  assert.deepEqual(left, [], 'its folder is gone');
});

test('the demo with --once prints three nodes and exits with 0, whatever the shell has set for other commands', async () => {
  const others = {
    ROLLCALL_STORE: 'sqlite:/nowhere/roll.db',
    ROLLCALL_AGENT: 'http://127.0.0.1:1',
    ROLLCALL_HEALTH: 'critical',
  };
  const demo = spawn(DEMO, ['--once'], { env: { ...CLEAN_ENV, ...others }, stdio: ['ignore', 'pipe', 'inherit'] });
  let stdout = '';
  demo.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  const [code] = await once(demo, 'exit');
  assert.equal(code, 0);
  assert.equal(stdout.trim().split('\n').length, 4, stdout);
});
