import assert from 'node:assert/strict';
import { readFileSync, readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describeError } from '../../src/lib/errors.ts';
import { startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { startOwned } from '../support/owned-process.ts';
import { CLEAN_ENV, PATIENCE_MS, rollStates, startFleet } from '../support/rollcall-process.ts';

const BUNDLE = fileURLToPath(new URL('../../dist/start.cjs', import.meta.url));
/** From before the first line of the program to a while after its registration. */
const DELAYS_MS = [0, 5, 10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 180, 220, 260, 300, 400, 600];

interface Started {
  /** Of the program itself, as this namespace numbers it. */
  readonly pid: number;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  readonly output: () => string;
}

/** Starts the bundle, and resolves as soon as the process runs it. */
async function start(t: TestContext, args: readonly string[], env: Record<string, string>): Promise<Started> {
  // No pdeathsig: setpriv would be what gets the signal of the shortest delays.
  const { child, pid, closed } = startOwned(
    t,
    [process.execPath, '--disable-warning=ExperimentalWarning', BUNDLE, ...args],
    { ...CLEAN_ENV, ...env },
    null,
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  return { pid, ended: closed, output: () => output };
}

/**
 * The same as process 1 of a process namespace, as in a container: a signal without a handler does not end it. Resolves once
 * Node has its own handlers; until then the kernel drops the signal, so a sender has to send it again.
 */
async function startAsProcess1(t: TestContext, args: readonly string[], env: Record<string, string>): Promise<Started> {
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', BUNDLE, ...args];
  const rights = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const isolated = ['unshare', ...rights, '--pid', '--fork', '--kill-child=KILL', '--mount-proc'] as const;
  const { child, pid: outside, closed } = startOwned(t, [...isolated, ...node], { ...CLEAN_ENV, ...env });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  let pid = 0;
  await until(
    'Node handles SIGTERM',
    PATIENCE_MS,
    () => {
      pid = Number(readFileSync(`/proc/${outside}/task/${outside}/children`, 'utf8'));
      if (pid === 0 || readlinkSync(`/proc/${pid}/exe`) !== readlinkSync('/proc/self/exe')) return false;
      const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '0';
      return (BigInt(`0x${caught}`) & BigInt(1 << (constants.signals.SIGTERM - 1))) !== 0n;
    },
    { everyMs: 1 },
  );
  return { pid, ended: closed, output: () => output };
}

for (const [how, begin] of [
  ['as an ordinary process', start],
  ['as process 1 of a container', startAsProcess1],
] as const) {
  test(`an agent that is stopped while it starts ends at once and leaves nothing registered, ${how}`, async (t) => {
    const etcd = await startEtcd();
    t.after(() => etcd.dispose());
    const store = etcd.clientUrl.replace('http', 'etcd');
    const fleet = await startFleet(t, 1);
    const env = await fleet.environment(1);
    const stop = async (agent: Started, when: string) => {
      process.kill(agent.pid, 'SIGTERM');
      let ended: { code: number | null; signal: NodeJS.Signals | null } | null = null;
      void agent.ended.then((end) => (ended = end));
      await until(`the agent that was stopped ${when} has ended`, 10_000, () => ended !== null).catch((error) => {
        throw new Error(`${describeError(error)}; its output: ${agent.output()}`);
      });
      return ended ?? assert.fail();
    };
    for (const delayMs of DELAYS_MS) {
      const agent = await begin(t, ['agent', '--store', store], env);
      await sleep(delayMs);
      const { code, signal } = await stop(agent, `after ${delayMs} ms`);
      // Before Node's own handlers an ordinary process ends by the signal itself.
      assert.ok(code === 0 || signal === 'SIGTERM', `${delayMs} ms: ${code} ${signal} ${agent.output()}`);
      const states = Object.values(await rollStates(store));
      assert.ok(
        states.every((state) => state === 'departed'),
        `${delayMs} ms: ${states} ${agent.output()}`,
      );
    }
    // On a busy machine every one above may have ended before its registration.
    const agent = await begin(t, ['agent', '--store', store], env);
    const isPresent = async () => Object.values(await rollStates(store)).includes('present');
    await until('the agent is registered', 30_000, isPresent, { everyMs: 200 });
    assert.deepEqual(await stop(agent, 'once registered'), { code: 0, signal: null }, agent.output());
    assert.deepEqual(Object.values(await rollStates(store)), ['departed'], agent.output());
  });

  test(`a command that is stopped while it starts ends at once with the status of the signal, ${how}`, async (t) => {
    const etcd = await startEtcd();
    t.after(() => etcd.dispose());
    const store = etcd.clientUrl.replace('http', 'etcd');
    const commands = [
      ['watch', '--store', store],
      ['list', '--store', store],
      ['show', 'i-0abc1234def567890', '--store', store],
      ['health', '--listen', '127.0.0.1:1'],
      ['simulate', '--nodes', '1', '--listen-base', '0'],
    ];
    for (const [name = '', ...args] of commands) {
      // What each of these does when it is left alone.
      const alone = name === 'list' ? 0 : name === 'show' || name === 'health' ? 1 : null;
      for (const delayMs of [0, 20, 50, 80, 120, 200, 400]) {
        for (const stop of ['SIGTERM', 'SIGINT'] as const) {
          const command = await begin(t, [name, ...args], {});
          await sleep(delayMs);
          try {
            process.kill(command.pid, stop);
          } catch {
            // It has ended by itself.
          }
          let ended: { code: number | null; signal: NodeJS.Signals | null } | null = null;
          void command.ended.then((end) => (ended = end));
          await until(`${name}, stopped after ${delayMs} ms, has ended`, 10_000, () => ended !== null);
          const { code, signal } = ended ?? assert.fail();
          const expected = [128 + constants.signals[stop], ...(alone === null ? [] : [alone])];
          if (name === 'simulate') expected.push(0);
          assert.ok(
            signal === stop || expected.includes(code ?? -1),
            `${name}, ${stop} after ${delayMs} ms: ${code} ${signal} ${command.output()}`,
          );
        }
      }
    }
  });
}
