import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Observation } from '../../src/checks/check.ts';
import { commandProbe } from '../../src/checks/command-probe.ts';
import { createLeftBehindFinder, RUN_MARK } from '../../src/checks/left-behind.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { scaledClock } from '../support/scaled-clock.ts';

const never = new AbortController().signal;

function probe(argv: readonly [string, ...string[]], timeoutMs = 10_000) {
  const env = { PATH: process.env['PATH'] };
  const findLeftBehind = createLeftBehindFinder();
  const common = { intervalMs: 20_000, timeoutMs, env, clock: systemClock, owner: 'test', ordinal: 0, findLeftBehind };
  return commandProbe({ check: { name: 'own', argv }, ...common });
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

test('a program that does not exist, at the start or later, is a warning that says where it is missing', async (t) => {
  const missing = (what: string) => ({
    status: 'warning',
    reason: `${what} where the agent runs; in a container it has to be mounted`,
  });
  assert.deepEqual(
    await probe(['no-such-program', '-x']).run(never),
    missing('"no-such-program" is not a program on PATH'),
  );
  assert.deepEqual(await probe(['/etc/passwd']).run(never), missing('"/etc/passwd" is not an executable file'));
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-program-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const program = join(dir, 'check');
  await symlink('/bin/true', program);
  const own = probe([program]);
  assert.equal((await own.run(never)).status, 'passing');
  await rm(program);
  assert.deepEqual(await own.run(never), missing(`"${program}" is not an executable file`));
  // One whose interpreter is missing is found, and does not start.
  await writeFile(program, '#!/nonexistent/sh\n', { mode: 0o755 });
  await assert.rejects(
    own.run(never),
    /^RollcallError: cannot start .*the interpreter that its first line names is missing/,
  );
});

test('an abort rejects with its reason', async () => {
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

for (const [how, daemonize] of [
  ['leaves its group', 'setsid'],
  ['clears its environment', 'env -i setsid'],
  ['clears its environment and forks twice', 'env -i setsid --fork'],
] as const) {
  test(`a command whose daemon ${how} does not fill the machine: it is not run while processes of it are left`, async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'rollcall-left-'));
    const pids = async () =>
      (await readFile(join(dir, 'pids'), 'utf8').catch(() => '')).split('\n').filter(Boolean).map(Number);
    const living = async () => (await pids()).filter((pid) => existsSync(`/proc/${pid}`));
    const killAll = async () => {
      for (const pid of await living()) process.kill(pid, 'SIGKILL');
    };
    t.after(async () => {
      await killAll();
      await rm(dir, { recursive: true, force: true });
    });
    const script =
      `${daemonize} sh -c 'echo $$ >> ${dir}/pids; exec sleep 300' </dev/null >/dev/null 2>&1 &\n` +
      // Until it has left the group and is what it will be.
      `n=$(($(cat ${dir}/count 2>/dev/null || echo 0) + 1)); echo $n > ${dir}/count\n` +
      `until [ "$(grep -c . ${dir}/pids 2>/dev/null)" = $n ] && grep -q sleep /proc/$(tail -n1 ${dir}/pids)/comm; do sleep 0.02; done`;
    const check = { name: 'daemon', argv: ['sh', '-c', script] as const };
    // A look at the processes of a busy machine may take longer than the agent waits for it.
    const clock = scaledClock(0.1);
    const limits = { intervalMs: 10_000, timeoutMs: 5_000, clock };
    const probe = commandProbe({
      check,
      ...limits,
      env: process.env,
      // Not what another run of this test on this machine has.
      owner: `test ${process.pid}`,
      ordinal: process.pid,
      findLeftBehind: createLeftBehindFinder(),
    });
    const results: string[] = [];
    for (let run = 0; run < 6; run += 1) {
      const { status, reason } = await probe.run(never);
      results.push(`${status} ${reason}`);
    }
    const left = await living();
    assert.equal(left.length, 2, `${left.length} processes are left`);
    assert.deepEqual(results.slice(0, 2), ['passing ', 'passing ']);
    const refusal = `warning not run: processes ${left.join(', ')}, as the agent numbers them, of earlier runs are left; end them, and let the command start none with setsid`;
    assert.deepEqual([...new Set(results.slice(2))], [refusal]);

    await killAll();
    await until('they have ended', PATIENCE_MS, async () => (await living()).length === 0);
    assert.equal((await probe.run(never)).status, 'passing');
  });
}

test('a check that is not run because processes are left is at least as bad as its last result', async () => {
  const statusAfter = async (exit: number) => {
    const left: number[] = [];
    const probe = commandProbe({
      check: { name: 'daemon', argv: ['sh', '-c', `echo "no route"; exit ${exit}`] },
      ...{ intervalMs: 10_000, timeoutMs: 5_000, clock: systemClock, env: process.env, owner: 'this', ordinal: 0 },
      findLeftBehind: async () => left,
    });
    await probe.run(never);
    left.push(7, 8);
    const results = [await probe.run(never), await probe.run(never)];
    for (const { reason } of results)
      assert.match(reason, /^not run: processes 7, 8, as the agent numbers them, of earlier runs are left; /);
    return results.map(({ status }) => status);
  };
  assert.deepEqual(await statusAfter(0), ['warning', 'warning']);
  assert.deepEqual(await statusAfter(1), ['warning', 'warning']);
  assert.deepEqual(await statusAfter(2), ['critical', 'critical']);
});

test('a command that leaves nothing behind, or what another check left, is no reason not to run', async (t) => {
  const findLeftBehind = createLeftBehindFinder();
  const limits = {
    intervalMs: 10_000,
    timeoutMs: 5_000,
    clock: systemClock,
    owner: 'this',
    ordinal: 0,
    env: process.env,
    findLeftBehind,
  };
  const probe = commandProbe({ check: { name: 'one', argv: ['true'] }, ...limits });
  for (let run = 0; run < 5; run += 1) assert.equal((await probe.run(never)).status, 'passing');
  const other = { variable: `other${process.pid}`, coreFilter: null };
  const env = { ...process.env, [RUN_MARK]: other.variable };
  const child = spawn('sleep', ['60'], { env, stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  await until('it is found', PATIENCE_MS, async () => (await findLeftBehind(other)).includes(child.pid ?? 0));
  assert.equal((await probe.run(never)).status, 'passing');
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.deepEqual(await findLeftBehind(other), []);
  assert.deepEqual(await createLeftBehindFinder('/nonexistent')(other), []);
});

test('a process that has ended, and that nothing has reaped, is not left behind; a name that looks so does not matter', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-zombie-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  // Its name is in brackets in its stat, before the state.
  const sleeper = join(dir, 'a) Z 1');
  await symlink('/bin/sleep', sleeper);
  const mark = { variable: `ended${process.pid}`, coreFilter: null };
  const script = `${RUN_MARK}=${mark.variable} "$1" 60 & echo $!; exec sleep 60`;
  const parent = spawn('sh', ['-c', script, 'sh', sleeper], { stdio: ['ignore', 'pipe', 'ignore'] });
  t.after(() => parent.kill('SIGKILL'));
  const [text] = await once(parent.stdout, 'data');
  const pid = Number(text);
  const find = createLeftBehindFinder();
  await until('it is found', PATIENCE_MS, async () => (await find(mark)).includes(pid));
  const stat = () => readFile(`/proc/${pid}/stat`, 'latin1');
  await until('it has its name', PATIENCE_MS, async () => (await stat()).includes('(a) Z 1)'));
  assert.deepEqual(await find(mark), [pid]);
  process.kill(pid, 'SIGKILL');
  await until('it has ended', PATIENCE_MS, async () => /\) Z \d+ /.test((await stat()).replace('(a) Z 1)', '(a)')));
  assert.deepEqual(await find(mark), []);
});
