import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Observation } from '../../src/checks/check.ts';
import { commandProbe } from '../../src/checks/command-probe.ts';
import { systemClock } from '../../src/lib/clock.ts';

const never = new AbortController().signal;

function probe(argv: readonly [string, ...string[]], timeoutMs = 10_000) {
  const env = { PATH: process.env['PATH'] };
  return commandProbe({ check: { name: 'own', argv }, intervalMs: 20_000, timeoutMs, env, clock: systemClock });
}

const seen = (script: string, timeoutMs?: number): Promise<Observation> =>
  probe(['sh', '-c', script], timeoutMs).run(never);

test('exit status 0 is passing, 1 is warning, others are critical, with the first line of output as the reason', async () => {
  assert.deepEqual(await seen('echo load 0.31'), { status: 'passing', reason: '' });
  assert.deepEqual(await seen('echo; echo "two tasks restart"; echo more; exit 1'), {
    status: 'warning',
    reason: 'two tasks restart',
  });
  assert.deepEqual(await seen('echo "no route" >&2; exit 2'), { status: 'critical', reason: 'no route' });
  assert.deepEqual(await seen('exit 3'), { status: 'critical', reason: 'exit status 3' });
  assert.deepEqual(await seen('kill -KILL $$'), { status: 'critical', reason: 'ended by SIGKILL' });
});

test('output of any size and kind becomes one short line', async () => {
  const flood = await seen('yes out | head -c 900000; exit 2');
  assert.deepEqual(flood, { status: 'critical', reason: 'out' });
  const binary = await seen('head -c 100000 /dev/zero; exit 2');
  assert.deepEqual(binary, { status: 'critical', reason: 'exit status 2' });
  assert.equal((await seen('printf "%0300d" 7; exit 2')).reason.length, 200);
});

test('a command that exceeds its timeout is critical, whatever its output', async () => {
  assert.deepEqual(await seen('echo soon; sleep 600', 200), { status: 'critical', reason: 'no answer within 200ms' });
});

test('a command that no longer exists is an error, and an abort rejects with its reason', async () => {
  await assert.rejects(probe(['/nonexistent/check']).run(never), /^RollcallError: cannot start \/nonexistent\/check/);
  await assert.rejects(probe(['sleep', '600']).run(AbortSignal.abort(new Error('leaving'))), /^Error: leaving$/);
});

test('close waits until the child processes of an aborted run are gone', async () => {
  const controller = new AbortController();
  const own = probe(['sh', '-c', `trap '' TERM; while :; do sleep 0.05; done`]);
  let over = false;
  own
    .run(controller.signal)
    .catch(() => {})
    .finally(() => {
      over = true;
    });
  // Give the shell time to set the trap.
  await systemClock.sleep(100, never);
  controller.abort(new Error('leaving'));
  await own.close();
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(over);
});
