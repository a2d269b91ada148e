import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { CliContext } from '../../src/cli/context.ts';
import { runProgram } from '../../src/cli/program.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { eventText, registered, synced } from '../client/sample-events.ts';
import { EMPTY_LIST, json, startScriptedAgent, stream } from '../client/scripted-agent.ts';
import { until } from '../support/machine-time.ts';
import { testContext } from '../support/run-in-process.ts';

const PATIENCE_MS = 30_000;
const ROLL = eventText(registered(7, 1, true)) + eventText(synced(7, 1), '7');
/** What an agent sends at once, also where nothing has happened since the cursor. */
const OPEN = 'retry: 1000\n\n';

/** An agent of a quiet fleet: its first stream has the roll and ends, the later ones say nothing. The last one stays. */
async function quietAgent(t: TestContext, { streams, gate }: { streams: number; gate: () => Promise<unknown> }) {
  let asked = 0;
  return startScriptedAgent(t, async (req, res) => {
    if (!req.url?.startsWith('/v1/events')) return json(200, EMPTY_LIST)(req, res);
    asked += 1;
    const isLast = asked >= streams;
    if (asked > 1) await gate();
    stream(asked === 1 ? ROLL : OPEN, isLast ? 'stay' : 'end')(req, res);
  });
}

/** A command in this process, until the test ends. */
function running(t: TestContext, args: readonly string[], clock: Clock = systemClock) {
  const said = { stdout: '', stderr: '' };
  const ending = new AbortController();
  const context: CliContext = { ...testContext(said), signal: ending.signal, clock };
  const code = runProgram(args, context);
  t.after(() => {
    ending.abort(new Error('the test has ended'));
    return code;
  });
  return { said, code };
}

test('list --watch is current as soon as the agent answers again, though nothing has happened', async (t) => {
  let said = { stdout: '', stderr: '' };
  const hasSaidSo = () => /^not current: .*the stream ended; trying again\n$/.test(said.stderr);
  let drawn = '';
  const gate = async () => {
    await until('it says so', PATIENCE_MS, hasSaidSo);
    drawn = said.stdout;
  };
  const agent = await quietAgent(t, { streams: 2, gate });
  said = running(t, ['list', '--watch', '-o', 'name', '--agent', agent.url]).said;
  const isDrawnAgain = () => drawn !== '' && said.stdout === `${drawn}i-00000001\n\n`;
  await until('it is drawn again', PATIENCE_MS, isDrawnAgain);
  assert.ok(hasSaidSo(), said.stderr);
});

test('wait says in the end how many match, not what had happened to a connection before', async (t) => {
  let reads = 0;
  let isOpen = () => false;
  const gate = async () => {
    const before = reads;
    // The second one begins when what the first one has brought is done.
    isOpen = () => reads >= before + 2;
  };
  const clock: Clock = {
    ...systemClock,
    async sleep(ms, signal) {
      if (ms === 30_000) reads += 1; // how long a stream may be silent
      if (ms === 60_000) await until('it is connected again', PATIENCE_MS, () => isOpen(), { signal });
      else await systemClock.sleep(ms, signal);
    },
  };
  const agent = await quietAgent(t, { streams: 2, gate });
  const { said, code } = running(t, ['wait', '--count', '2', '--timeout', '60s', '--agent', agent.url], clock);
  assert.equal(await code, 1);
  assert.match(
    said.stderr,
    /^warning: .*the stream ended; trying again\nnote: the agent answers again\nrollcall wait: not within 1m: 1 of 2 nodes match\n$/,
  );
});

test('dns --watch says each outage of a quiet agent', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-follow-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, 'names');
  const isWritten = async () => (await readFile(file, 'utf8').catch(() => '')).includes('i-00000001');
  const agent = await quietAgent(t, { streams: 3, gate: () => until('it is written', PATIENCE_MS, isWritten) });
  const { said } = running(t, ['dns', '--watch', '--file', file, '--agent', agent.url]);
  await until(
    'it has said both',
    PATIENCE_MS,
    () => said.stderr.match(/the stream ended; trying again\n/g)?.length === 2,
  );
});
