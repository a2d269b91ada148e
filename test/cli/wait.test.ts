import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startScriptedAgent } from '../client/scripted-agent.ts';
import { until } from '../support/machine-time.ts';
import { runInProcess } from '../support/run-in-process.ts';
import { openTestRoll } from '../support/test-roll.ts';

const PATIENCE_MS = 30_000;

test('it ends as soon as enough nodes match, over a store and over an agent', async (t) => {
  const roll = await openTestRoll(t);
  await roll.register(1);
  const agent = await roll.serve();
  for (const [n, from] of [
    [2, ['--store', roll.url]],
    [3, ['--agent', agent]],
  ] as const) {
    let ended = false;
    const waiting = runInProcess(['wait', '--count', String(n), '--cluster', 'demo', ...from]).finally(() => {
      ended = true;
    });
    // A node of another cluster does not count.
    await roll.register(10 + n, { cluster: 'other' });
    assert.equal(ended, false);
    await roll.register(n);
    await until('enough nodes match', PATIENCE_MS, () => ended);
    assert.deepEqual(await waiting, { code: 0, stdout: `${n} nodes match\n`, stderr: '' });
  }
  const one = await runInProcess(['wait', '--presence', 'lost,present', '-l', 'role=node', '--store', roll.url]);
  assert.deepEqual([one.code, one.stdout], [0, '5 nodes match\n']);
});

test('when the time is over it says how many match, and which value matches nothing', async (t) => {
  const roll = await openTestRoll(t);
  await roll.register(1);
  const args = ['wait', '--count', '2', '--cluster', 'demo,demoo', '--timeout', '1s', '--store', roll.url];
  const { code, stdout, stderr } = await runInProcess(args);
  assert.deepEqual([code, stdout], [1, '']);
  assert.equal(
    stderr,
    'rollcall wait: not within 1s: 1 of 2 nodes match; no node is in cluster "demoo"; clusters: demo\n',
  );
});

test('what is away is asked again until the time is over; what is no agent ends it at once', async (t) => {
  const away = await runInProcess(['wait', '--timeout', '1s', '--agent', 'http://127.0.0.1:1']);
  assert.equal(away.code, 1);
  assert.match(
    away.stderr,
    /^warning: watch the roll at \S+ .*ECONNREFUSED[^\n]*; trying again\nrollcall wait: not within 1s: .*ECONNREFUSED[^\n]*\n$/,
  );
  const page = await startScriptedAgent(t, (_, res) => res.end('<html>'));
  const odd = await runInProcess(['wait', '--agent', page.url]);
  assert.equal(odd.code, 2);
  assert.match(odd.stderr, /^rollcall wait: http:\S+ is not a rollcall agent: [^\n]+\n$/);
});
