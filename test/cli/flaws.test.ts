import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createOnce } from '../../src/cli/context.ts';
import { runProgram } from '../../src/cli/program.ts';
import { parseRollList } from '../../src/client/wire.ts';
import { decodeRecord } from '../../src/record/codec.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { describeUnread } from '../../src/store/unreadable-nodes.ts';
import { fakeStore } from '../support/fake-store.ts';
import { until } from '../support/machine-time.ts';
import { runInProcess, soonStale, testContext } from '../support/run-in-process.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { serveStore } from '../support/serve-store.ts';

const PATIENCE_MS = 30_000;
const PRESENCE = { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
const SKIPPED = 'skipped v1/records/junk: foreign';
const REFUSED = 'the record of i-00000001 has an invalid publicIpAddress';

function entry(n: number, overrides: object): RollEntry {
  const text = JSON.stringify({ ...sampleRecord({ ec2InstanceId: sampleInstanceId(n) }), ...overrides });
  const decoded = decodeRecord(sampleInstanceId(n), text);
  assert.ok(decoded.ok);
  return { record: decoded.value, presence: PRESENCE };
}

/** An agent of a store with a record of which one field is refused, a whole one, and a key that holds no record. */
async function serveFlawed(t: TestContext, key = 'v1/records/junk') {
  const store = fakeStore();
  store.skipped = [{ key, reason: 'foreign' }];
  store.commit([entry(1, { publicIpAddress: '-oProxyCommand=x' }), entry(2, { privateIpAddress: '10.0.0.2' })]);
  const { url, close } = await serveStore(store);
  t.after(close);
  // It must not get old on a busy machine.
  const confirming = setInterval(() => store.confirm(), 1_000);
  t.after(() => clearInterval(confirming));
  return url;
}

const linesOf = (stderr: string) => stderr.split('\n').filter(Boolean).sort();

test('an agent names what it cannot read, as the store does', async (t) => {
  const agent = await serveFlawed(t);
  const warnings = [SKIPPED, REFUSED].map((line) => `warning: ${line}`);
  for (const args of [['list'], ['dns']])
    assert.deepEqual(linesOf((await runInProcess([...args, '--agent', agent])).stderr), warnings, args[0]);
  const { stderr } = await runInProcess(['status', '--agent', agent]);
  for (const line of [SKIPPED, REFUSED]) assert.ok(linesOf(stderr).includes(`note: ${line}`), stderr);
  const quiet = await runInProcess(['list', '--agent', agent, '--log-level', 'error']);
  assert.equal(quiet.stderr, '');
});

test('show names what cannot be read of the nodes that it shows, or of all where one is not found', async (t) => {
  const agent = await serveFlawed(t);
  const show = async (...names: string[]) => linesOf((await runInProcess(['show', ...names, '--agent', agent])).stderr);
  const [skipped, refused] = [SKIPPED, REFUSED].map((line) => `warning: ${line}`);
  for (const name of ['i-00000002', '10.0.0.2']) assert.deepEqual(await show(name), [], name);
  assert.deepEqual(await show('i-00000001'), [refused]);
  assert.deepEqual(await show('10.0.0.2', 'i-00000001'), [refused]);
  const absent = `rollcall show: 10.0.0.9 is not on the roll at ${agent}; rollcall list --all prints all nodes`;
  assert.deepEqual(await show('10.0.0.9'), [absent, skipped]);
});

test('show says of a node that no note names that it may be among the rest', async (t) => {
  const store = fakeStore();
  const flawed = [1, 2, 3, 4, 5, 6].map((n) => entry(n, { publicIpAddress: '-oProxyCommand=x' }));
  store.commit(flawed);
  const { url, close } = await serveStore(store);
  t.after(close);
  const warnings = async (id: string) => linesOf((await runInProcess(['show', id, '--agent', url])).stderr);
  const refused = (n: number) => `warning: the record of i-0000000${n} has an invalid publicIpAddress`;
  assert.deepEqual(await warnings('i-00000005'), [refused(5)]);
  assert.deepEqual(await warnings('i-00000006'), ['warning: 1 more records have invalid fields']);
});

test('show does not say of a node whose record it cannot read that it is gone', async (t) => {
  const agent = await serveFlawed(t, 'v1/records/i-00000009');
  for (const names of [['i-00000009'], ['i-00000002', 'i-00000009']]) {
    const { code, stderr } = await runInProcess(['show', ...names, '--agent', agent]);
    assert.equal(code, 1);
    assert.match(stderr, /^rollcall show: the record of i-00000009 cannot be read: foreign$/m);
  }
  assert.match((await runInProcess(['show', 'i-00000008', '--agent', agent])).stderr, /i-00000008 is not on the roll/);
  const crowded = await serveFlawed(t, 'v1/');
  const { stderr } = await runInProcess(['show', 'i-00000009', '--agent', crowded]);
  assert.match(stderr, /^rollcall show: the record of i-00000009 may be among those that cannot be read: foreign$/m);
});

test('a node of which the reader of an agent cannot read the record is not called gone', () => {
  const list = { containerInstances: [{ ec2InstanceId: 'i-00000009' }], skipped: [], revision: '7', ageMs: 0 };
  const { skipped } = parseRollList(JSON.stringify(list));
  assert.match(describeUnread(skipped, 'i-00000009') ?? '', /^the record of i-00000009 cannot be read: /);
  assert.equal(describeUnread(skipped, 'i-00000008'), null);
});

test('what follows an agent names it once', async (t) => {
  const agent = await serveFlawed(t);
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-flaws-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  for (const [kind, ...args] of [
    ['warning', 'wait', '--count', '9', '--timeout', '1h'],
    ['warning', 'dns', '--watch', '--file', join(dir, 'names')],
    ['note', 'watch'],
    ['warning', 'list', '--watch'],
  ]) {
    const said = { stdout: '', stderr: '' };
    const ending = new AbortController();
    let polls = 0;
    const clock: typeof soonStale = {
      ...soonStale,
      sleep(ms, signal) {
        if (ms === 5_000) polls += 1;
        return soonStale.sleep(ms, signal);
      },
    };
    const context = { ...testContext(said), clock, signal: ending.signal };
    const code = runProgram([...args, '--agent', agent], context);
    t.after(() => ending.abort(new Error('the test has ended')));
    await until('it has asked several times', PATIENCE_MS, () => polls > 3);
    const lines = () => said.stderr.split('\n').filter((line) => line.startsWith(`${kind}: `));
    const wanted = [SKIPPED, REFUSED].map((line) => `${kind}: ${line}`);
    await until(`${args[0]} has named them`, PATIENCE_MS, () => wanted.every((line) => lines().includes(line)));
    if (args[0] !== 'list') assert.deepEqual(lines().sort(), wanted, args[0]);
    ending.abort(new Error('the test has ended'));
    await code;
  }
});
test('a line is printed again only after it was gone, and how many more there are makes no other line', () => {
  const told: string[] = [];
  const once = createOnce((lines) => told.push(...lines));
  once(['skipped a', 'skipped 3 more unreadable keys']);
  once(['skipped a', 'skipped 4 more unreadable keys']);
  assert.deepEqual(told, ['skipped a', 'skipped 3 more unreadable keys']);
  once([]);
  once(['skipped a']);
  assert.deepEqual(told.slice(2), ['skipped a']);
});
