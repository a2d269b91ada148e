import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runProgram } from '../../src/cli/program.ts';
import type { Terminal } from '../../src/cli/terminal.ts';
import { registered, synced } from '../client/sample-events.ts';
import { EMPTY_LIST, json, startScriptedAgent, stream } from '../client/scripted-agent.ts';
import { until } from '../support/machine-time.ts';
import { runInProcess, soonStale, testContext } from '../support/run-in-process.ts';
import { openTestRoll, type TestRoll } from '../support/test-roll.ts';

const PATIENCE_MS = 30_000;

/** `rollcall list --watch` in this process, until `stop`. */
function watching(roll: Pick<TestRoll, 'url'>, terminal: Terminal | undefined, ...args: string[]) {
  const said = { stdout: '', stderr: '' };
  const ending = new AbortController();
  const source = roll.url.startsWith('http') ? '--agent' : '--store';
  const ended = runProgram(['list', '--watch', source, roll.url, ...args], {
    ...testContext(said),
    signal: ending.signal,
    clock: soonStale,
    terminal,
  });
  return {
    said,
    async stop() {
      ending.abort(new Error('ended by SIGINT'));
      return ended;
    },
  };
}

test('a terminal shows the list in one place, cut to its size, and again after a change', async (t) => {
  const roll = await openTestRoll(t);
  for (const n of [1, 2, 3]) await roll.register(n);
  const screens: string[] = [];
  const terminal: Terminal = {
    columns: () => 30,
    rows: () => 5,
    redraw: async (text) => void screens.push(text),
    write: async () => assert.fail('a list has no colours'),
  };
  const list = watching(roll, terminal, '--cluster', 'demo,nope');
  await until('the roll is drawn', PATIENCE_MS, () => screens.length > 0);
  const [first = ''] = screens;
  assert.deepEqual(
    first.split('\n').map((line) => line.slice(0, 20)),
    ['IP        INSTANCE  ', '10.0.0.1  i-00000001', '… 2 more', 'no node is in cluste', ''],
  );
  assert.ok(first.split('\n').every((line) => line.length <= 30));
  await roll.register(0);
  await until('the new node is drawn', PATIENCE_MS, () => screens.at(-1)?.includes('10.0.0.0') === true);
  assert.equal(await list.stop(), 1);
  assert.equal(list.said.stdout, '');
});

test('a clock that is off is named, once and as long as the list is drawn', async (t) => {
  const roll = await openTestRoll(t);
  await roll.register(1, { clockSkewSeconds: -3_600 });
  const warning = "warning: the clock of i-00000001 is 60 min behind EC2's; the times in its record are by it";
  const once = await runInProcess(['list', '--store', roll.url, '-o', 'name']);
  assert.deepEqual(once, { code: 0, stdout: 'i-00000001\n', stderr: `${warning}\n` });
  const quiet = await runInProcess(['list', '--store', roll.url, '-o', 'name', '--log-level', 'error']);
  assert.equal(quiet.stderr, '');
  const list = watching(roll, undefined, '-o', 'name');
  await until('it is named', PATIENCE_MS, () => list.said.stderr === `${warning}\n`);
  await roll.register(1, { clockSkewSeconds: 0 });
  await until('the next list', PATIENCE_MS, () => list.said.stdout.endsWith('\n\ni-00000001\n\n'));
  assert.equal(list.said.stderr, `${warning}\n`);
  await list.stop();
});

test('a pipe gets one list after the other', async (t) => {
  const roll = await openTestRoll(t);
  await roll.register(1);
  const list = watching(roll, undefined, '-o', 'name', '--sort-by', 'instance');
  await until('the first', PATIENCE_MS, () => list.said.stdout === 'i-00000001\n\n');
  await roll.register(2);
  await until('the second', PATIENCE_MS, () => list.said.stdout.endsWith('i-00000001\ni-00000002\n\n'));
  await list.stop();
});

test('it says that the roll is old while the agent cannot read the store', async (t) => {
  const roll = await openTestRoll(t);
  await roll.register(1);
  const { agent, cutOff } = await roll.serveBreakable();
  const list = watching({ url: agent }, undefined, '-o', 'name');
  await until('the first', PATIENCE_MS, () => list.said.stdout === 'i-00000001\n\n');
  assert.equal(list.said.stderr, '');
  cutOff();
  const old = 'not current: the store does not answer; trying again\n';
  await until('it says so', PATIENCE_MS, () => list.said.stderr === old);
  assert.equal(list.said.stdout, 'i-00000001\n\ni-00000001\n\n');
  await list.stop();
});

test('a node whose agent is newer than this command is left out, and named below the list until it is gone', async (t) => {
  const newer = (revision: number) => {
    const { data, ...event } = registered(revision, 2);
    return { ...event, data: { ...data, record: { ...('record' in data ? data.record : null), schemaVersion: 2 } } };
  };
  const events = [
    registered(7, 1, true),
    registered(7, 2, true),
    synced(7, 1, 2),
    newer(8),
    newer(9),
    registered(10, 3),
  ];
  const screens: string[] = [];
  const terminal: Terminal = {
    columns: () => 100,
    rows: () => 20,
    redraw: async (text) => void screens.push(text),
    write: async () => assert.fail('a list has no colours'),
  };
  const text = (event: { readonly revision: string; readonly data: unknown }) =>
    `data: ${JSON.stringify(event)}\nid: ${event.revision}\n\n`;
  let send = (_: string) => {};
  const agent = await startScriptedAgent(t, (req, res) => {
    if (!req.url?.startsWith('/v1/events')) return json(200, EMPTY_LIST)(req, res);
    stream(events.map(text).join(''))(req, res);
    send = (more) => void res.write(more);
  });
  const list = watching(agent, terminal, '-o', 'name');
  const warning = 'warning: skipped i-00000002: schemaVersion 2 is newer than 1; upgrade this reader';
  const drawn = (...lines: string[]) =>
    until('all is drawn', PATIENCE_MS, () => screens.at(-1) === [...lines, ''].join('\n')).catch(() =>
      assert.equal(screens.at(-1), [...lines, ''].join('\n')),
    );
  await drawn('i-00000001', 'i-00000003', warning);
  // What the audit says of a node is not its record, whether this command can read it or not.
  const found = { kind: 'stray', reason: 'ECS does not know it' };
  const audit = { ...registered(11, 2), type: 'rollcall.audit.difference' };
  for (const data of [found, { kind: 'a kind of the future' }]) send(text({ ...audit, data }));
  send(text(registered(12, 4)));
  await drawn('i-00000001', 'i-00000003', 'i-00000004', warning);
  send([registered(13, 1, true), synced(13, 1)].map(text).join(''));
  await drawn('i-00000001');
  await list.stop();
});
