import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { notifyByProgram, runNotifier } from '../../src/agent/systemd.ts';
import { createCell } from '../../src/lib/cell.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { sampleReport } from '../support/sample-report.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const report = () => sampleReport({ loops: [] });

test('what could not be sent is sent at the next tick, and its failure told once', async () => {
  const clock = simulatedClock();
  const told: string[] = [];
  const errors: unknown[] = [];
  let broken = true;
  const send = async (assignments: readonly string[]) => {
    if (broken) throw new Error('no such program');
    told.push(...assignments);
  };
  const leaving = createCell(false);
  const end = new AbortController();
  const options = {
    channel: { send, watchdogMs: null },
    clock,
    report,
    leaving,
    onError: (error: unknown) => errors.push(error),
  };
  const running = runNotifier(options, end.signal);
  await clock.advance(5_000);
  assert.deepEqual([told.length, errors.length], [0, 1]);
  broken = false;
  await clock.advance(1_000);
  assert.deepEqual(told, ['READY=1', 'STATUS=registered as i-00000000 in demo, passing']);
  leaving.set(true); // no tick is waited for
  await clock.advance(0);
  assert.deepEqual(told.slice(2), ['STOPPING=1', 'STATUS=leaving the roll']);
  end.abort(new Error('the end'));
  await assert.rejects(running, /the end/);
  assert.equal(clock.sleepers(), 0);
});

test('systemd’s program gets the assignments as they are; one that is missing or fails is an error', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-notify-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const program = join(dir, 'notify');
  await writeFile(program, `#!/bin/sh\n[ "$1" != FAIL ] && printf '%s\\n' "$@" >'${dir}/told'\n`);
  await chmod(program, 0o755);
  const send = notifyByProgram(systemClock, program);
  await send(['READY=1', 'STATUS=a b "c" $d'], AbortSignal.timeout(10_000));
  assert.equal(await readFile(join(dir, 'told'), 'utf8'), 'READY=1\nSTATUS=a b "c" $d\n');
  await assert.rejects(send(['FAIL'], AbortSignal.timeout(10_000)), /Command failed/);
  await assert.rejects(
    notifyByProgram(systemClock, join(dir, 'none'))(['READY=1'], AbortSignal.timeout(10_000)),
    /ENOENT/,
  );
});
