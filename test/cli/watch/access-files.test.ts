import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runProgram } from '../../../src/cli/program.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { eventText, registered, synced } from '../../client/sample-events.ts';
import { EMPTY_LIST, json, startScriptedAgent, stream } from '../../client/scripted-agent.ts';
import { until } from '../../support/machine-time.ts';
import { runInProcess, testContext } from '../../support/run-in-process.ts';

const PATIENCE_MS = 30_000;
const ROLL = eventText(registered(7, 1, true)) + eventText(synced(7, 1), '7');

async function tokenFile(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-files-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return join(dir, 'token');
}

test('a token file that is replaced, and so is missing and then empty, ends no watch that reconnects', async (t) => {
  const file = await tokenFile(t);
  await writeFile(file, 'first');
  const tokens: (string | undefined)[] = [];
  const agent = await startScriptedAgent(t, async (req, res) => {
    if (!req.url?.startsWith('/v1/events')) return json(200, EMPTY_LIST)(req, res);
    tokens.push(req.headers.authorization);
    if (tokens.length === 1) await rm(file);
    stream(ROLL, tokens.length === 1 ? 'end' : 'stay')(req, res);
  });
  const said = { stdout: '', stderr: '' };
  const ending = new AbortController();
  let retries = 0;
  const clock: Clock = {
    ...systemClock,
    async sleep(ms, signal) {
      // All other pauses and limits are longer.
      if (ms > 2_500) return systemClock.sleep(ms, signal);
      retries += 1;
      if (retries === 2) await writeFile(file, '');
      if (retries === 3) await writeFile(file, 'second\n');
    },
  };
  const args = ['watch', '--agent', agent.url, '--agent-token-file', file];
  const code = runProgram(args, { ...testContext(said), signal: ending.signal, clock });
  let ended = false;
  void code.then(() => {
    ended = true;
  });
  t.after(() => {
    ending.abort(new Error('the test has ended'));
    return code;
  });
  await until('it is connected again or has ended', PATIENCE_MS, () => tokens.length === 2 || ended);
  assert.equal(ended, false, said.stderr);
  assert.deepEqual(tokens, ['Bearer first', 'Bearer second']);
  assert.equal(retries, 3);
});

test('a file that is missing or empty at the start is one line', async (t) => {
  const file = await tokenFile(t);
  const agent = await startScriptedAgent(t, json(200, EMPTY_LIST));
  for (const cause of ['ENOENT: no such file or directory', 'it is empty']) {
    for (const args of [['watch'], ['wait'], ['list']]) {
      const { code, stderr } = await runInProcess([...args, '--agent', agent.url, '--agent-token-file', file]);
      assert.equal(code, 1);
      const line = `rollcall ${args[0]}: cannot read the token file ${file}: ${cause}`;
      assert.ok(stderr.startsWith(line) && stderr.split('\n').length === 2, stderr);
    }
    await writeFile(file, ' \n');
  }
});
