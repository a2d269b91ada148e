import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openDnsFile } from '../../../src/cli/dns/dns-file.ts';
import { renderHosts } from '../../../src/cli/dns/dns-names.ts';
import { keepCurrent } from '../../../src/cli/dns/keep-current.ts';
import { runProgram } from '../../../src/cli/program.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { until } from '../../support/machine-time.ts';
import { testContext } from '../../support/run-in-process.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { openTestRoll } from '../../support/test-roll.ts';

const PATIENCE_MS = 30_000;
const HEAD = '# Made by rollcall dns; changes are lost';

/** The system's clock, which `pass` sets forward. */
function forwardClock() {
  let passedMs = 0;
  const clock: Clock = {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs() + passedMs,
    async sleep(delayMs, signal) {
      const endMs = clock.monotonicMs() + delayMs;
      do await systemClock.sleep(Math.min(Math.max(endMs - clock.monotonicMs(), 0), 20), signal);
      while (clock.monotonicMs() < endMs);
    },
  };
  return {
    clock,
    pass(ms: number) {
      passedMs += ms;
    },
  };
}

/** A file that names these nodes, and an agent with a clock of its own: the leases of its roll live on when the other passes. */
async function world(t: TestContext, named: readonly number[]) {
  const roll = await openTestRoll(t);
  const agent = await roll.serve();
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-dns-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, 'names');
  const lines = named.map((n) => `10.0.0.${n} ${sampleInstanceId(n)}.rollcall.internal`);
  await writeFile(file, `${[HEAD, ...lines].join('\n')}\n`);
  const names = async () =>
    ((await readFile(file, 'utf8').catch(() => '')).match(/(?<=^10\.0\.0\.)\d+/gm) ?? []).join(' ');
  const { clock, pass } = forwardClock();
  const said = { stdout: '', stderr: '' };
  const ending = new AbortController();
  const context = { ...testContext(said), clock, signal: ending.signal };
  /** Runs `work` until the test ends. */
  const start = (work: () => Promise<unknown>) => {
    const ended = work().catch(() => {});
    t.after(() => {
      ending.abort(new Error('ended by SIGINT'));
      return ended;
    });
  };
  const watch = (...args: string[]) =>
    start(() => runProgram(['dns', '--watch', '--file', file, '--agent', agent, ...args], context));
  return { roll, agent, file, names, pass, said, start, watch, context };
}

test('names whose nodes have no record any more stay for a TTL, since the store may have lost its data', async (t) => {
  const { roll, names, pass, said, watch } = await world(t, [1, 2, 3, 4, 5, 6]);
  await roll.register(1);
  watch();
  await until('it says so', PATIENCE_MS, () =>
    /stays as it is for 31s: 5 of the 6 nodes that it names have no record any more/.test(said.stderr),
  );
  await roll.register(2, { labels: { a: 'b' } });
  assert.equal(await names(), '1 2 3 4 5 6');
  // More than once: the wait may begin after the first time.
  await until('they are gone', PATIENCE_MS, async () => {
    pass(31_000);
    return (await names()) === '1 2';
  });
});

test('they are current as soon as the nodes are back', async (t) => {
  const { roll, names, said, watch } = await world(t, [1, 2, 3, 4, 5, 6]);
  await roll.register(7);
  watch();
  await until('it says so', PATIENCE_MS, () => said.stderr.includes('stays as it is for 31s: 6 of the 6 nodes'));
  for (const n of [1, 2, 3, 4]) await roll.register(n);
  await until('they are back', PATIENCE_MS, async () => (await names()) === '1 2 3 4 7');
});

test('a start in a mass loss waits for the TTL that the nodes have', async (t) => {
  const { roll, names, pass, said, watch } = await world(t, [1, 2, 3, 4]);
  const record = sampleRecord({ ec2InstanceId: sampleInstanceId(4), privateIpAddress: '10.0.0.4' });
  const registration = { instanceId: record.ec2InstanceId, session: 's', since: record.registeredAt, ttlMs: 300_000 };
  const { signal } = new AbortController();
  await roll.store.register({ ...registration, retentionMs: 600_000 }, record, { takeover: true, signal });
  for (const n of [1, 2, 3]) await roll.end(n);
  watch('--mass-loss-count', '2');
  await until('it says so', PATIENCE_MS, () => said.stderr.includes('agents are back within 300s'));
  assert.match(said.stderr, /stays as it is for 5m1s: 3 of 4 nodes are lost/);
  // More than once: the wait may begin after the first time.
  await until('they are gone', PATIENCE_MS, async () => {
    pass(301_000);
    return (await names()) === '4';
  });
});

test('a file that was deleted is made again while no name changes', async (t) => {
  const { roll, file, names, pass, watch } = await world(t, []);
  await roll.register(1);
  watch();
  await until('it is there', PATIENCE_MS, async () => (await names()) === '1');
  await rm(file);
  // More than once: the wait may begin after the first time.
  await until('it is there again', PATIENCE_MS, async () => {
    pass(60_000);
    return (await names()) === '1';
  });
});

test('an agent that cannot read the store gives no names until it can again', async (t) => {
  const { roll, file, names, said, start, context } = await world(t, [2, 3]);
  await roll.register(1);
  const { agent, isStale, cutOff, mend } = await roll.serveBreakable();
  assert.equal(await isStale(), false);
  cutOff();
  await until('its roll is old', PATIENCE_MS, isStale);
  for (const n of [2, 3]) await roll.register(n);
  const another = join(file, '..', 'another');
  for (const each of [file, another])
    start(() => runProgram(['dns', '--watch', '--file', each, '--agent', agent], context));
  const stays = (each: string) =>
    `warning: ${each} stays as it is: ${agent} cannot read the store at present, and its roll may be old; trying again\n`;
  await until('both say so', PATIENCE_MS, () => [file, another].every((each) => said.stderr.includes(stays(each))));
  assert.deepEqual([await names(), await readFile(another, 'utf8').catch(() => 'none')], ['2 3', 'none']);
  mend();
  await until('it reads the store again', PATIENCE_MS, async () => (await names()) === '1 2 3');
  await until('so does the other', PATIENCE_MS, async () => (await readFile(another, 'utf8')).includes('10.0.0.3'));
  assert.equal(said.stderr.length, stays(file).length + stays(another).length, said.stderr);
});

test('an error in making the names is a warning, and they are made again', async (t) => {
  const { roll, agent, file, names, pass, said, start, context } = await world(t, []);
  await roll.register(1);
  const settings = { zone: 'rollcall.internal', byLabel: [], services: [], ttlSeconds: 30 };
  const opened = await openDnsFile(file, (made) => renderHosts(made, settings));
  t.after(() => opened.release());
  let calls = 0;
  const namesOf = () => {
    calls += 1;
    if (calls === 1) throw new Error('a fault');
    return {
      names: { nodes: [{ instanceId: 'i-00000001', address: '10.0.0.1', byLabel: [] }], leftOut: [] },
      notes: [],
    };
  };
  const flags = { store: '', agent, logLevel: 'info', massLossShare: 30, massLossCount: 5, file } as const;
  start(() => keepCurrent(context, flags, opened, namesOf));
  await until('it says so', PATIENCE_MS, () => said.stderr.includes('warning: a fault; trying again\n'));
  // More than once: the wait may begin after the first time.
  await until('the names are there', PATIENCE_MS, async () => {
    pass(10_000);
    return (await names()) === '1';
  });
});
