import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNotifyChannel } from '../../src/agent/systemd.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

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
