import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  dueNotifications,
  INITIAL_NOTIFY_STATE,
  MAX_NOTIFICATION_BYTES,
  type NotifyInput,
} from '../../src/agent/systemd.ts';

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

test('nobody watches: no WATCHDOG', () => {
  assert.deepEqual(
    run(60, () => ({ ...well, watchdogMs: null })),
    ['0 READY=1', '0 STATUS=registered'],
  );
});

test('a status that flickers is told every other second, and the last one stands', () => {
  const told = run(7, (second) => ({ ...well, status: `status ${Math.min(second, 5)}`, watchdogMs: null }));
  assert.deepEqual(told.slice(1), ['0 STATUS=status 0', '2 STATUS=status 2', '4 STATUS=status 4', '6 STATUS=status 5']);
});

test('leaving is told once and at once, whatever was told just before', () => {
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
