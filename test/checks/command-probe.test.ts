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
  probe(['sh', '-c', script], timeoutMs).look(never);

test('exit status 0 passes, 1 warns, all else is critical, with the first line of the output', async () => {
  assert.deepEqual(await seen('echo load 0.31'), { status: 'passing', reason: '' });
  assert.deepEqual(await seen('echo; echo "two tasks restart"; echo more; exit 1'), {
    status: 'warning',
    reason: 'two tasks restart',
  });
  assert.deepEqual(await seen('echo "no route" >&2; exit 2'), { status: 'critical', reason: 'no route' });
  assert.deepEqual(await seen('exit 3'), { status: 'critical', reason: 'exit status 3' });
  assert.deepEqual(await seen('kill -KILL $$'), { status: 'critical', reason: 'ended by SIGKILL' });
});

test('output of any size and kind is one sane line', async () => {
  const flood = await seen('yes out | head -c 900000; exit 2');
  assert.deepEqual(flood, { status: 'critical', reason: 'out' });
  const binary = await seen('head -c 100000 /dev/zero; exit 2');
  assert.deepEqual(binary, { status: 'critical', reason: 'exit status 2' });
  assert.equal((await seen('printf "%0300d" 7; exit 2')).reason.length, 200);
});

test('a command that takes too long is critical, whatever it said', async () => {
  assert.deepEqual(await seen('echo soon; sleep 600', 200), { status: 'critical', reason: 'no answer within 200ms' });
});

test('a command that has gone since the start is told, and an abort rejects with its reason', async () => {
  await assert.rejects(probe(['/nonexistent/check']).look(never), /^RollcallError: cannot start \/nonexistent\/check/);
  await assert.rejects(probe(['sleep', '600']).look(AbortSignal.abort(new Error('leaving'))), /^Error: leaving$/);
});

test('closing waits until the children of an aborted look are gone', async () => {
  const controller = new AbortController();
  const own = probe(['sh', '-c', `trap '' TERM; while :; do sleep 0.05; done`]);
  let over = false;
  own
    .look(controller.signal)
    .catch(() => {})
    .finally(() => {
      over = true;
    });
  // The shell must have had its time to set the trap.
  await systemClock.sleep(100, never);
  controller.abort(new Error('leaving'));
  await own.close();
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(over);
});
