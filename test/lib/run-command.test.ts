import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '../../src/lib/clock.ts';
import { RollcallError } from '../../src/lib/errors.ts';
import { type CommandRun, runCommand } from '../../src/lib/run-command.ts';
import { timed, until } from '../support/machine-time.ts';
import { scaledClock } from '../support/scaled-clock.ts';

describe('run command', () => {
  /** Passed to every child, so that what is left of it can be found; tests that run at the same time add to it. */
  const MARK = `rollcall-run-${process.pid}.`;

  function run(argv: CommandRun['argv'], options: Partial<CommandRun> = {}) {
    return runCommand({
      argv,
      env: { PATH: process.env['PATH'], MARK },
      timeoutMs: 20_000,
      maxOutputBytes: 1_000,
      output: 'capture',
      clock: systemClock,
      signal: new AbortController().signal,
      ...options,
    });
  }

  const sh = (script: string, options: Partial<CommandRun> = {}) => run(['sh', '-c', script], options);

  /** The living processes whose mark begins so; a zombie has no environment any more. */
  function survivors(mark = MARK): string[] {
    return readdirSync('/proc').filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`MARK=${mark}`);
      } catch {
        return false; // it has ended, or is not ours to look into
      }
    });
  }

  /** A grace of 2.5 s instead of 500 ms, so that a slow process on a busy machine does not count as ignoring SIGTERM. */
  const slow = { clock: scaledClock(0.2) };
  const SLOW_GRACE_MS = 2_500;

  // Only the test can end the processes that left their group.
  after(() => {
    for (const pid of survivors()) process.kill(Number(pid), 'SIGKILL');
  });

  test('the result has the status, signal and output of a program', async () => {
    assert.deepEqual(await sh('echo out; echo err >&2; exit 3'), {
      status: 3,
      signal: null,
      timedOut: false,
      output: 'out\nerr\n',
      errors: '',
      truncated: false,
    });
    const apart = await sh('echo out; echo err >&2', { output: 'separate' });
    assert.deepEqual([apart.output, apart.errors], ['out\n', 'err\n']);
    const killed = await sh('kill -SEGV $$');
    assert.deepEqual([killed.status, killed.signal, killed.timedOut], [null, 'SIGSEGV', false]);
  });

  test('arguments and environment are passed unchanged, without a shell', async () => {
    const { output } = await run(['printf', '<%s>', '$HOME', 'a  b', '', ';']);
    assert.equal(output, '<$HOME><a  b><><;>');
    assert.equal((await run(['env'])).output, `PATH=${process.env['PATH']}\nMARK=${MARK}\n`);
  });

  test('stdin is the given text; without one it is empty', async () => {
    assert.equal((await run(['cat'], { stdin: 'one event\n' })).output, 'one event\n');
    assert.equal((await run(['cat'])).output, '');
  });

  test('a program that closes stdin without reading it is not a failure', async () => {
    const result = await sh('exec 0<&-; echo done', { stdin: 'x'.repeat(1_000_000) });
    assert.deepEqual([result.status, result.output], [0, 'done\n']);
  });

  test('a flood costs little while it is dropped', async () => {
    const before = process.cpuUsage();
    const result = await run(['yes'], { timeoutMs: 1_000 });
    assert.deepEqual([result.timedOut, result.truncated, result.output.length], [true, true, 1_000]);
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 300_000, `${(user + system) / 1_000} ms of CPU`);
  });

  test('output above the limit is dropped without blocking the program, and no character is cut in two', async () => {
    const { status, output, truncated } = await sh('yes ü | head -c 3000000; exit 1', { maxOutputBytes: 100 });
    assert.deepEqual([status, output, truncated], [1, `${'ü\n'.repeat(33)}`, true]);
    assert.deepEqual((await sh('printf 0123456789', { maxOutputBytes: 10 })).truncated, false);
  });

  describe('what is left of a run', { concurrency: true }, () => {
    const markOf = (t: { readonly name: string }) => {
      const mark = `${MARK}-${t.name.replaceAll(' ', '-')}\0`;
      return { mark, marked: { env: { PATH: process.env['PATH'], MARK: mark.slice(0, -1) } } };
    };

    test('after the timeout SIGTERM ends the program and its children at once', async (t) => {
      const { mark, marked } = markOf(t);
      const [result, tookMs] = await timed(
        sh('sleep 600 & sleep 600; echo never', { ...slow, ...marked, timeoutMs: 200 }),
      );
      assert.deepEqual([result.status, result.signal, result.timedOut], [null, 'SIGTERM', true]);
      assert.ok(tookMs < 1_000 + SLOW_GRACE_MS, `${tookMs} ms`);
      await until('no process of the run is left', 30_000, () => survivors(mark).length === 0);
    });

    test('after the timeout a program and a grandchild that ignore SIGTERM are killed', async (t) => {
      const { mark, marked } = markOf(t);
      const script = `trap '' TERM; (while :; do sleep 0.05; done) & echo started; while :; do sleep 0.05; done`;
      const [result, tookMs, wallMs] = await timed(sh(script, { ...slow, ...marked, timeoutMs: 300 }));
      assert.deepEqual([result.signal, result.timedOut, result.output], ['SIGKILL', true, 'started\n']);
      const killedMs = 1_500 + SLOW_GRACE_MS;
      assert.ok(wallMs >= killedMs - 50 && tookMs < killedMs + SLOW_GRACE_MS, `${tookMs} ms`);
      await until('no process of the run is left', 30_000, () => survivors(mark).length === 0);
    });

    test('an abort ends all of them, then rejects with its reason', async (t) => {
      const { mark, marked } = markOf(t);
      const controller = new AbortController();
      const running = sh(`trap '' TERM; sleep 600 & sleep 600; sleep 600`, { ...marked, signal: controller.signal });
      setTimeout(() => controller.abort(new Error('leaving')), 100);
      await assert.rejects(running, /^Error: leaving$/);
      await until('no process of the run is left', 30_000, () => survivors(mark).length === 0);
      await assert.rejects(sh('echo never', { ...marked, signal: controller.signal }), /leaving/);
    });

    test('a grandchild that keeps the pipes open does not delay the run, and does not outlive it', async (t) => {
      const { mark, marked } = markOf(t);
      const [result, tookMs, wallMs] = await timed(sh('sleep 600 & echo done', { ...slow, ...marked }));
      assert.deepEqual([result.status, result.output, result.timedOut], [0, 'done\n', false]);
      assert.ok(wallMs >= SLOW_GRACE_MS - 50 && tookMs < 2 * SLOW_GRACE_MS, `${tookMs} ms`);
      await until('no process of the run is left', 30_000, () => survivors(mark).length === 0);
    });

    test('a grandchild has some time to finish its output', async (t) => {
      const { marked } = markOf(t);
      assert.equal((await sh('(sleep 0.2; echo late) & echo done', { ...slow, ...marked })).output, 'done\nlate\n');
    });

    test('a grandchild without the pipes ends with the program, at once', async (t) => {
      const { mark, marked } = markOf(t);
      const [result, tookMs] = await timed(sh('sleep 600 >/dev/null 2>&1 </dev/null & exit 0', { ...slow, ...marked }));
      assert.equal(result.status, 0);
      assert.ok(tookMs < SLOW_GRACE_MS - 100, `${tookMs} ms`);
      await until('no process of the run is left', 30_000, () => survivors(mark).length === 0);
    });

    test('a grandchild that left the group with the pipes does not delay the run', async (t) => {
      const { marked } = markOf(t);
      const [result, tookMs] = await timed(sh('setsid sleep 600 & echo done', marked));
      assert.equal(result.output, 'done\n');
      assert.ok(tookMs < 20_000, `${tookMs} ms`);
    });
  });

  test('a program that cannot be started gives a one-line error', async () => {
    const refused = (pattern: RegExp) => (error: unknown) =>
      error instanceof RollcallError && pattern.test(error.message) && !error.message.includes('\n');
    await assert.rejects(run(['no-such-program']), refused(/^cannot start no-such-program: there is no such program/));
    await assert.rejects(run(['/etc/passwd']), refused(/^cannot start \/etc\/passwd: it is not an executable file$/));
    await assert.rejects(run(['true', 'x'.repeat(3_000_000)]), refused(/^cannot start true: its arguments/));
    await assert.rejects(run(['true', 'a\0b']), refused(/^cannot start true: /));
  });

  test('inherited output goes to this process’s output', async () => {
    // In a process of its own: this one's stdout belongs to the test runner.
    const module = new URL('../../src/lib/run-command.ts', import.meta.url);
    const clock = new URL('../../src/lib/clock.ts', import.meta.url);
    const script = `
    import { runCommand } from ${JSON.stringify(module)};
    import { systemClock } from ${JSON.stringify(clock)};
    const result = await runCommand({ argv: ['sh', '-c', 'cat; echo err >&2'], stdin: 'in,', env: process.env,
      timeoutMs: 5000, maxOutputBytes: 10, output: 'inherit', clock: systemClock, signal: new AbortController().signal });
    console.log(JSON.stringify([result.status, result.output]));`;
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
    assert.deepEqual([stdout, stderr], ['in,[0,""]\n', 'err\n']);
  });

  test('a run leaves no descriptor, no listener and nothing that keeps the process alive', async () => {
    const controller = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = controller.signal;
    controller.signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners += 1;
      addEventListener.apply(controller.signal, args);
    };
    controller.signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners -= 1;
      removeEventListener.apply(controller.signal, args);
    };
    const left = () => [readdirSync('/proc/self/fd').length, process.getActiveResourcesInfo().sort()];
    await run(['true']); // whatever the first run of a process opens for good
    await until('no process handle is left', 30_000, () => !process.getActiveResourcesInfo().includes('ProcessWrap'));
    const before = left();
    const options = { signal: controller.signal, stdin: 'x'.repeat(200_000) };
    await Promise.all([
      run(['true'], options),
      run(['cat'], options),
      run(['no-such-program'], options).catch(() => {}),
      sh('sleep 600', { ...options, timeoutMs: 50 }),
      sh('sleep 600 & setsid sleep 600 & true', options),
    ]);
    await until('no listener is left', 30_000, () => JSON.stringify(left()) === JSON.stringify(before));
    assert.equal(listeners, 0);
  });
});
