import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  describeStatus,
  dueNotifications,
  INITIAL_NOTIFY_STATE,
  MAX_NOTIFICATION_BYTES,
  type NotifyInput,
  notifyByProgram,
  openNotifyChannel,
  runNotifier,
} from '../../src/agent/systemd.ts';
import { createCell } from '../../src/lib/cell.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { sampleRecord } from '../support/sample-record.ts';
import { sampleLease, sampleReport } from '../support/sample-report.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

describe('describe status', () => {
  test('on the roll: who, where and how', () => {
    assert.equal(describeStatus(sampleReport(), null), 'registered as i-00000000 in demo, passing');
    const checks = [{ name: 'ecs-agent', status: 'critical' as const, reason: 'connection refused', since: '' }];
    const record = sampleRecord({ health: { status: 'critical', since: '', checks }, cluster: null });
    assert.equal(
      describeStatus(sampleReport({ record }), null),
      'registered as i-00000000 in no cluster yet, critical (ecs-agent: connection refused)',
    );
  });

  test('not on the roll: what it waits for', () => {
    assert.equal(
      describeStatus(
        sampleReport({ lease: sampleLease({ state: 'lost', believedGood: false, lastError: 'connection refused' }) }),
        null,
      ),
      'not on the roll: i-00000000 in demo waits for etcd://10.0.0.1:2379: connection refused',
    );
    assert.equal(describeStatus(sampleReport({ record: null }), null), 'waiting for the EC2 metadata');
    const sources = sampleReport().sources.map((source) => ({ ...source, lastError: 'HTTP 500' }));
    assert.equal(
      describeStatus(sampleReport({ record: null, sources }), null),
      'waiting for the EC2 metadata: HTTP 500',
    );
    assert.match(describeStatus(sampleReport({ lease: sampleLease({ state: 'superseded' }) }), null), /^superseded: /);
  });

  test('and why the agent does not answer HTTP', () => {
    assert.equal(
      describeStatus(sampleReport(), 'port 51690 is taken'),
      'registered as i-00000000 in demo, passing; no HTTP: port 51690 is taken',
    );
  });

  test('a stuck loop goes before all else', () => {
    const loops = [{ name: 'publisher', ageMs: 60_001, limitMs: 60_000 }];
    assert.equal(describeStatus(sampleReport({ loops }), null), 'stuck: loop publisher makes no progress');
  });
});

describe('notifications', () => {
  const well: NotifyInput = { status: 'registered', progressing: true, leaving: false, watchdogMs: 30_000 };

  /** Asks each second for `seconds`, with what `input` says then; answers with what was due, and when. */
  function run(seconds: number, input: (second: number) => NotifyInput): string[] {
    let state = INITIAL_NOTIFY_STATE;
    const told: string[] = [];
    for (let second = 0; second <= seconds; second += 1) {
      const due = dueNotifications(state, 5_000_000 + second * 1_000, input(second));
      state = due.state;
      told.push(...due.assignments.map((each) => `${second} ${each}`));
    }
    return told;
  }

  test('the first call says READY, the status and that the watchdog is fed; later calls only what is due', () => {
    assert.deepEqual(
      run(21, () => well),
      ['0 READY=1', '0 STATUS=registered', '0 WATCHDOG=1', '10 WATCHDOG=1', '20 WATCHDOG=1'],
    );
  });

  test('a loop that is stuck starves the watchdog, and feeds it at once when it moves again', () => {
    const told = run(40, (second) => ({ ...well, progressing: second < 5 || second >= 33 }));
    assert.deepEqual(told.slice(2), ['0 WATCHDOG=1', '33 WATCHDOG=1']);
  });

  test('without a watchdog: no WATCHDOG', () => {
    assert.deepEqual(
      run(60, () => ({ ...well, watchdogMs: null })),
      ['0 READY=1', '0 STATUS=registered'],
    );
  });

  test('a status that flickers is sent every other second, and the last one stays', () => {
    const told = run(7, (second) => ({ ...well, status: `status ${Math.min(second, 5)}`, watchdogMs: null }));
    assert.deepEqual(told.slice(1), [
      '0 STATUS=status 0',
      '2 STATUS=status 2',
      '4 STATUS=status 4',
      '6 STATUS=status 5',
    ]);
  });

  test('leaving is sent once and at once, whatever was sent just before', () => {
    const told = run(4, (second) => ({ ...well, leaving: second >= 1, watchdogMs: null }));
    assert.deepEqual(told.slice(2), ['1 STOPPING=1', '1 STATUS=leaving the roll']);
  });

  test('an agent asked to leave before it served never says READY', () => {
    assert.deepEqual(
      run(2, () => ({ ...well, leaving: true, watchdogMs: null })),
      ['0 STOPPING=1', '0 STATUS=leaving the roll'],
    );
  });

  test('a status is one line and fits into one notification, whole characters only', () => {
    for (const status of ['x\nREADY=1\r\n\u2028y', 'é'.repeat(2_000), `x${'€'.repeat(900)}`, `xx${'😀'.repeat(900)}`]) {
      const [assignment = ''] = dueNotifications(INITIAL_NOTIFY_STATE, 0, { ...well, status }).assignments.slice(1);
      assert.match(assignment, /^STATUS=\P{Cc}+$/u);
      assert.ok(Buffer.byteLength(assignment) <= MAX_NOTIFICATION_BYTES, `${Buffer.byteLength(assignment)} bytes`);
      assert.ok(!assignment.includes('\uFFFD'));
    }
  });
});

describe('open notify channel', () => {
  const clock = simulatedClock();

  test('on stdout each assignment is a line, and all of them one write', async () => {
    const written: string[] = [];
    const stdout = async (text: string) => void written.push(text);
    const channel = openNotifyChannel({ by: 'stdout', watchdogMs: 30_000 }, { clock, stdout });
    await channel?.send(['READY=1', 'STATUS=well'], AbortSignal.timeout(10_000));
    assert.deepEqual([written, channel?.watchdogMs], [['READY=1\nSTATUS=well\n'], 30_000]);
    assert.equal(openNotifyChannel(null, { clock, stdout }), null);
  });

  test('a reader of stdout that has stopped reading does not keep an agent from ending', {
    timeout: 10_000,
  }, async () => {
    const stdout = () => new Promise<void>(() => {});
    const channel = openNotifyChannel({ by: 'stdout', watchdogMs: null }, { clock, stdout });
    const end = new AbortController();
    const sending = channel?.send(['STOPPING=1'], end.signal);
    end.abort(new Error('the end'));
    await assert.rejects(async () => sending, /the end/);
  });
});

describe('run notifier', () => {
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
      httpTrouble: () => 'its port is taken',
      leaving,
      onError: (error: unknown) => errors.push(error),
    };
    const running = runNotifier(options, end.signal);
    await clock.advance(5_000);
    assert.deepEqual([told.length, errors.length], [0, 1]);
    broken = false;
    await clock.advance(1_000);
    assert.deepEqual(told, ['READY=1', 'STATUS=registered as i-00000000 in demo, passing; no HTTP: its port is taken']);
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
});
