import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { isOnJournal } from '../../src/cli/agent-log.ts';

test('stderr is the journal where its device and inode are those that systemd names', (t) => {
  const fd = openSync('/dev/null', 'r');
  t.after(() => closeSync(fd));
  const { dev, ino } = fstatSync(fd, { bigint: true });
  assert.equal(isOnJournal('auto', `${dev}:${ino}`, fd), true);
  // A child inherits the variable also where its stderr goes elsewhere.
  assert.equal(isOnJournal('auto', `${dev}:${ino + 1n}`, fd), false);
  assert.equal(isOnJournal('auto', undefined, fd), false);
  assert.equal(isOnJournal('auto', `${dev}:${ino}`, 1_000_000), false);
  assert.equal(isOnJournal('on', undefined, fd), true);
  assert.equal(isOnJournal('off', `${dev}:${ino}`, fd), false);
});

test('a reader of stderr that is stuck does not stop the agent, and learns how many lines it missed', async () => {
  const program = `
    process.stderr.on('error', () => {}); // as main.ts: a pipe then does not block its writer
    const { createLog } = await import(${JSON.stringify(new URL('../../src/cli/agent-log.ts', import.meta.url))});
    const { systemClock } = await import(${JSON.stringify(new URL('../../src/lib/clock.ts', import.meta.url))});
    const log = createLog({ level: 'info', priorities: false, instanceId: () => null, clock: systemClock });
    for (let n = 0; n < 2_000; n += 1) log.info({ n }, 'x'.repeat(1_000));
    process.stdout.write('went on');
    setInterval(() => {}, 60_000);`;
  const argv = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', program];
  const child = spawn(process.execPath, argv, {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  const [said] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  assert.equal(String(said), 'went on');
  const lines: string[] = [];
  for await (const line of createInterface(child.stderr)) {
    lines.push(line);
    if (line.includes('dropped')) break;
  }
  child.kill('SIGKILL');
  const last = JSON.parse(lines.pop() ?? '');
  assert.deepEqual(
    [last.msg, last.lines],
    ['lines of the log were dropped while nothing read stderr', 2_000 - lines.length],
  );
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).n),
    lines.map((_, n) => n),
  );
});
