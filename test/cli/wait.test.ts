import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CliContext } from '../../src/cli/context.ts';
import { runProgram } from '../../src/cli/program.ts';
import type { RollCloudEvent } from '../../src/client/types.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { openStore } from '../../src/store/open-store.ts';
import { eventText, registered, synced } from '../client/sample-events.ts';
import { EMPTY_LIST, json, startScriptedAgent, stream } from '../client/scripted-agent.ts';
import { until } from '../support/machine-time.ts';
import { runInProcess, soonStale, testContext } from '../support/run-in-process.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
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

test('an agent that cannot read the store is waited for, since its roll may be old', async (t) => {
  const roll = await openTestRoll(t);
  for (const n of [1, 2]) await roll.register(n);
  const { agent, isStale, cutOff } = await roll.serveBreakable();
  const args = ['wait', '--count', '2', '--timeout', '60s', '--agent', agent];
  assert.deepEqual(await runInProcess(args), { code: 0, stdout: '2 nodes match\n', stderr: '' });
  cutOff();
  await until('its roll is old', PATIENCE_MS, isStale);
  const cause = `${agent} cannot read the store at present, and its roll may be old`;
  const said = { stdout: '', stderr: '' };
  const hasSaidSo = () => said.stderr === `warning: ${cause}; trying again\n`;
  const clock: Clock = {
    ...systemClock,
    // The time is over as soon as the agent's answer is known, however long a busy machine takes for it.
    async sleep(ms, signal) {
      if (ms !== 60_000) return systemClock.sleep(ms, signal);
      await until('it says so', PATIENCE_MS, hasSaidSo, { signal });
    },
  };
  assert.equal(await runProgram(args, { ...testContext(said), clock }), 1);
  assert.deepEqual(said, {
    stdout: '',
    stderr: `warning: ${cause}; trying again\nrollcall wait: not within 1m: ${cause}\n`,
  });
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

test('it says once that the store behind an agent does not answer, once that it does again', async (t) => {
  const roll = await openTestRoll(t);
  await roll.register(1);
  const { agent, cutOff, mend } = await roll.serveBreakable();
  const said = { stdout: '', stderr: '' };
  const ending = new AbortController();
  t.after(() => ending.abort(new Error('the test has ended')));
  const context: CliContext = { ...testContext(said), signal: ending.signal, clock: soonStale };
  await fetch(`${agent}/v1/containerInstances`); // the agent knows the roll
  const waiting = runProgram(
    ['wait', '--count', '2', '--cluster', 'demo', '--timeout', '1h', '--agent', agent],
    context,
  );
  await until('it follows the agent', PATIENCE_MS, async () =>
    (await (await fetch(`${agent}/metrics`)).text()).includes('\nrollcall_event_readers 1\n'),
  );
  cutOff();
  const away = 'warning: the store does not answer, so nodes may have changed; trying again\n';
  await until('it says so', PATIENCE_MS, () => said.stderr !== '');
  assert.equal(said.stderr, away);
  said.stderr = '';
  mend();
  // The agent knows by any change that it reads the store again; without one, after some seconds.
  await roll.register(3, { cluster: 'other' });
  await until('the store is back', PATIENCE_MS, () => said.stderr !== '');
  assert.equal(said.stderr, 'note: the store answers again\n');
  await roll.register(2);
  assert.equal(await waiting, 0);
  assert.equal(said.stdout, '2 nodes match\n');
});

test('it does not repeat that the agent cannot read the store when the agent has read it since', async (t) => {
  for (const schemaVersion of [1, 2]) {
    const first = registered(7, 1, true) as Extract<RollCloudEvent, { type: 'rollcall.instance.registered' }>;
    const { record } = first.data;
    const told = { ...first, data: { ...first.data, record: { ...record, schemaVersion } } } as RollCloudEvent;
    const roll = [told, synced(7, 1), registered(8, 2), registered(9, 3)].map((event) => eventText(event)).join('');
    let asked = 0;
    const agent = await startScriptedAgent(t, (req, res) => {
      if (req.url?.startsWith('/v1/events')) return stream(roll)(req, res);
      asked += 1;
      // The first two are the poll, which then has a pause without end, and what is asked before the roll is taken.
      json(200, { ...EMPTY_LIST, stale: asked <= 2 })(req, res);
    });
    const said = { stdout: '', stderr: '' };
    const clock: Clock = {
      ...systemClock,
      sleep: (ms, signal) => systemClock.sleep(ms === 5_000 ? 3_600_000 : ms, signal),
    };
    const args = ['wait', '--count', '2', '--timeout', '1h', '--agent', agent.url];
    assert.equal(await runProgram(args, { ...testContext(said), clock }), 0);
    const newer = 'warning: skipped i-00000001: schemaVersion 2 is newer than 1; upgrade this reader\n';
    assert.equal(
      said.stderr,
      `warning: ${agent.url} cannot read the store at present, and its roll may be old; trying again\n${schemaVersion === 2 ? newer : ''}`,
    );
  }
});

test('a line says that an agent is back, though its roll is the same', async (t) => {
  const list = json(200, EMPTY_LIST);
  const streams = [stream(eventText(synced(7), '7'), 'end'), stream(': back\n\n')];
  const agent = await startScriptedAgent(t, (req, res) =>
    (/^\/v1\/events/.test(req.url ?? '') ? (streams.shift() ?? stream('')) : list)(req, res),
  );
  const said = { stdout: '', stderr: '' };
  const ending = new AbortController();
  const context: CliContext = { ...testContext(said), signal: ending.signal };
  const waiting = runProgram(['wait', '--timeout', '1h', '--agent', agent.url], context);
  t.after(() => ending.abort(new Error('the test has ended')));
  await until('it is back', PATIENCE_MS, () => /again\n.*again\n/s.test(said.stderr));
  assert.match(
    said.stderr,
    /^warning: watch the roll at \S+: the stream ended; trying again\nnote: the agent answers again\n$/,
  );
  ending.abort(new Error('ended'));
  assert.equal(await waiting, 1);
});

test('what is away is asked again until the time is over; what is no agent ends it at once', async (t) => {
  const away = await runInProcess(['wait', '--timeout', '1s', '--agent', 'http://127.0.0.1:1']);
  assert.equal(away.code, 1);
  assert.match(
    away.stderr,
    /^warning: list the roll at \S+ .*ECONNREFUSED[^\n]*; trying again\nrollcall wait: not within 1s: .*ECONNREFUSED[^\n]*\n$/,
  );
  const page = await startScriptedAgent(t, (_, res) => res.end('<html>'));
  const odd = await runInProcess(['wait', '--agent', page.url]);
  assert.equal(odd.code, 2);
  assert.match(odd.stderr, /^rollcall wait: http:\S+ is not a rollcall agent: [^\n]+\n$/);
});

test('an embedded store that no agent has made yet is waited for, and named', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'wait-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'roll.db');
  const said = { stdout: '', stderr: '' };
  const waiting = runProgram(['wait', '--store', `sqlite:${path}`, '--timeout', '1h'], testContext(said));
  const cause = `open store sqlite:${path}: there is no such file; start an agent on it, or name another store with --store or ROLLCALL_STORE`;
  await until('it says that there is none', PATIENCE_MS, () => said.stderr !== '');
  assert.equal(said.stderr, `warning: ${cause}; trying again\n`);
  const never = new AbortController().signal;
  const deps = { clock: systemClock, random: Math.random, signal: never, create: true };
  const store = await openStore({ kind: 'sqlite', label: path, path }, deps);
  t.after(() => store.close());
  const registration = {
    ...{ instanceId: sampleInstanceId(1), session: 'session-1', since: '2026-01-01T00:00:00Z' },
    ...{ ttlMs: 30_000, retentionMs: 90_000 },
  };
  await store.register(registration, sampleRecord({ ec2InstanceId: sampleInstanceId(1) }), {
    takeover: true,
    signal: never,
  });
  assert.equal(await waiting, 0);
  assert.deepEqual(said, { stdout: '1 node matches\n', stderr: `warning: ${cause}; trying again\n` });
  const none = await runInProcess(['wait', '--store', `sqlite:${path}.none`, '--timeout', '200ms']);
  assert.match(none.stderr, /\nrollcall wait: not within 200ms: open store \S+ there is no such file; [^\n]+\n$/);
  assert.equal(none.code, 1);
});

test('an older agent, which knows no pages, is asked for its whole roll', async (t) => {
  const refusal = json(400, { detail: 'unknown parameter "limit"; allowed: cluster, health, presence, az' });
  const old = await startScriptedAgent(t, (req, res) => {
    const answer = req.url?.includes('limit') ? refusal : json(200, { ...EMPTY_LIST, stale: true });
    answer(req, res);
  });
  const said = { stdout: '', stderr: '' };
  const ending = new AbortController();
  const context = { ...testContext(said), signal: ending.signal };
  const waiting = runProgram(['wait', '--agent', old.url, '--timeout', '1h'], context);
  await until('it says what it waits for', PATIENCE_MS, () => said.stderr !== '');
  ending.abort(new Error('the test has ended'));
  await waiting;
  const cause = `${old.url} cannot read the store at present, and its roll may be old`;
  assert.equal(said.stderr, `warning: ${cause}; trying again\nrollcall wait: the test has ended\n`);
  assert.ok(old.asked.some((path) => /containerInstances\??$/.test(path)));
});
