import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { firstStopSignal, onStopSignal, STOP_SIGNALS, wasLostAtStart } from '../../src/lib/stop-signals.ts';
import { until } from '../support/machine-time.ts';

// Node's test runner has SIGUSR2 write a diagnostic report.
process.report.reportOnSignal = false;
// Otherwise a signal could no longer end this process.
after(() => {
  for (const signal of STOP_SIGNALS) process.removeAllListeners(signal);
});

const NODES_OWN = 'Name:\tnode\nSigIgn:\t0000000001001000\nSigCgt:\t0000000100004602\n';

test('a signal that Node’s own handler swallowed before the first line of process 1 is found', () => {
  for (const [caught, lost] of [
    ['4602', [false, false]],
    ['0602', [true, false]],
    ['4600', [false, true]],
  ] as const) {
    const status = NODES_OWN.replace('4602', caught);
    assert.deepEqual([wasLostAtStart(1, 'SIGTERM', status), wasLostAtStart(1, 'SIGINT', status)], lost);
  }
});

test('an ordinary process would have ended by it, and without the line nothing is known', () => {
  assert.equal(wasLostAtStart(4711, 'SIGTERM', NODES_OWN.replace('4602', '0602')), false);
  assert.equal(wasLostAtStart(1, 'SIGTERM', ''), false);
});

test('Node has its handlers when a program starts, as this one was', () => {
  // This file installed its own since, for the same two signals among others.
  const status = readFileSync('/proc/self/status', 'latin1');
  assert.deepEqual([wasLostAtStart(1, 'SIGTERM', status), wasLostAtStart(1, 'SIGINT', status)], [false, false]);
});

test('every stop signal reaches the listener, and the first one is kept', async () => {
  const told: string[] = [];
  onStopSignal((signal) => told.push(signal));
  assert.equal(firstStopSignal(), null);
  for (const [index, signal] of STOP_SIGNALS.entries()) {
    process.kill(process.pid, signal);
    await until('the listener has the signal', 10_000, () => told.length > index);
  }
  assert.deepEqual(told, STOP_SIGNALS);
  assert.equal(firstStopSignal(), 'SIGTERM');
});
