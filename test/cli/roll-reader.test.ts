import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runProgram } from '../../src/cli/program.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { EMPTY_LIST, json, startScriptedAgent } from '../client/scripted-agent.ts';
import { until } from '../support/machine-time.ts';
import { runInProcess, testContext } from '../support/run-in-process.ts';
import { openTestRoll } from '../support/test-roll.ts';

const DEPARTED = { departure: { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } } as const;

describe('an agent instead of the store', () => {
  test('list and show print the same, warnings included', async (t) => {
    const roll = await openTestRoll(t);
    await roll.register(1, { labels: { role: 'web' } });
    await roll.register(2, {
      cluster: 'other',
      health: { status: 'critical', since: '2026-01-01T00:00:00Z', checks: [] },
    });
    await roll.end(3);
    await roll.end(4, DEPARTED);
    const agent = await roll.serve();
    for (const args of [
      ['list'],
      ['list', '--all', '-o', 'wide'],
      ['list', '-o', 'json', '--presence', 'lost,departed'],
      ['list', '-l', 'role=web,!gpu', '--az', 'us-east-1a'],
      ['list', '--cluster', 'demo,prod', '--health', 'critical'],
      ['show', 'i-00000003', '-o', 'json'],
      ['show', '10.0.0.1', 'i-00000002', '-o', 'json'],
      ['show', 'i-0'],
      ['show', 'i-00000009', '10.0.0.4', '-o', 'ndjson'],
    ]) {
      const direct = await runInProcess([...args, '--store', roll.url]);
      const served = await runInProcess([...args, '--agent', agent]);
      const label = (text: string) => text.replaceAll(agent, 'URL').replaceAll(/memory:\S+?(?=[;,])/g, 'URL');
      assert.deepEqual(
        { ...served, stderr: label(served.stderr) },
        { ...direct, stderr: label(direct.stderr) },
        args.join(' '),
      );
    }
  });

  test('its variable outranks that of the store, and --store outranks its variable', async (t) => {
    const roll = await openTestRoll(t);
    await roll.register(1);
    const agent = await roll.serve();
    const env = { ROLLCALL_AGENT: agent, ROLLCALL_STORE: 'memory:another' };
    const count = async (...args: string[]) =>
      (await runInProcess(['list', '--no-legend', ...args], { env })).stdout.split('\n').length - 1;
    assert.equal(await count(), 1);
    assert.equal(await count('--store', 'memory:another'), 0);
    const both = await runInProcess(['list', '--store', roll.url, '--agent', agent]);
    assert.deepEqual(
      [both.code, both.stderr],
      [2, 'rollcall list: --agent and --store exclude each other; remove one of them\n'],
    );
    const idle = await runInProcess(['list', '--agent', agent, '--timeout', '1s']);
    assert.match(
      idle.stderr,
      /^rollcall list: --timeout has no effect with --agent http:\S+, which is asked instead of the store; leave it out\n$/,
    );
  });

  test('a roll that is not current is printed with its age', async (t) => {
    const agent = await startScriptedAgent(t, json(200, { ...EMPTY_LIST, ageMs: 45_000, stale: true }));
    const { code, stderr } = await runInProcess(['list', '--agent', agent.url]);
    assert.equal(code, 0);
    assert.match(stderr, /^warning: this roll is 45s old: the agent at http:\S+ cannot read the store at present\n/);
    const quiet = await runInProcess(['list', '--agent', agent.url, '--log-level', 'error']);
    assert.doesNotMatch(quiet.stderr, /warning/);
  });
});

describe('an --agent that is of no use is one line', () => {
  const list = async (url: string) => {
    const { code, stdout, stderr } = await runInProcess(['list', '--agent', url]);
    assert.equal(stdout, '');
    assert.match(stderr, /^rollcall list: [^\n]+\n$/);
    return [code, stderr.replaceAll(url, 'URL').slice('rollcall list: '.length, -1)];
  };

  test('another server, a redirect, nothing at all', async (t) => {
    const page = await startScriptedAgent(t, (_, res) => res.end('<html>'));
    const [code, line] = await list(page.url);
    assert.equal(code, 2);
    assert.match(String(line), /^URL is not a rollcall agent: .*; use http:\/\/HOST:PORT of an agent’s --listen$/);
    const lost = await startScriptedAgent(t, json(404, { detail: 'no' }));
    assert.match(String(await list(lost.url)), /^2,URL is not a rollcall agent: .*HTTP 404: no/);
    const strict = await startScriptedAgent(t, (_, res) => res.writeHead(400).end('what?'));
    assert.match(String(await list(strict.url)), /^2,URL is not a rollcall agent: .*HTTP 400; use http:/);
    const away = await startScriptedAgent(t, (_, res) => res.writeHead(302, { Location: page.url }).end());
    assert.deepEqual(await list(away.url), [
      2,
      'URL answers with a redirect (HTTP 302), which is not followed; use the agent’s own URL',
    ]);
    assert.equal(page.asked.length, 2, 'the page was not asked by the redirect');
    assert.match(
      String(await list('http://127.0.0.1:1')),
      /^1,list the roll at URL: .*ECONNREFUSED 127.0.0.1:1; check that an agent listens there$/,
    );
    const tls = page.url.replace('http:', 'https:');
    assert.match(String(await list(tls)), /^1,list the roll at URL: the port does not speak TLS; use http:\/\/$/);
    for (const url of ['10.0.0.1:51690', 'http://h/path', 'ftp://h'])
      assert.match(String((await runInProcess(['list', '--agent', url])).stderr), /Write an address such as http:/);
  });

  test('an agent that hangs', async (t) => {
    const frozen = await startScriptedAgent(t, () => {});
    let passedMs = 0;
    const said = { stdout: '', stderr: '' };
    const sleep: typeof systemClock.sleep = async (delayMs, signal) => {
      await until('the agent was asked', 30_000, () => frozen.asked.length > 0);
      signal?.throwIfAborted();
      passedMs += delayMs;
    };
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + passedMs, sleep };
    const code = await runProgram(['list', '--agent', frozen.url], { ...testContext(said), clock });
    assert.deepEqual([code, said.stdout], [1, '']);
    assert.equal(
      said.stderr,
      `rollcall list: the agent at ${frozen.url} gave no answer within 15s; ask another one, or the store\n`,
    );
    assert.ok(passedMs >= 15_000, `${passedMs} ms`);
  });

  test('an agent of another version is named with both', async (t) => {
    const other = await startScriptedAgent(t, json(200, { nodes: [] }), (_, res) => res.end('rollcall 9.1.0\n\n/\n'));
    assert.match(
      String(await list(other.url)),
      /^2,the agent at URL is rollcall 9\.1\.0, this is test: .*cannot read the answer: .*; upgrade the older one$/,
    );
  });

  test('an agent that does not know a filter is of another version', async (t) => {
    const refusal = json(400, { detail: 'unknown parameter "selector"; allowed: cluster, health' });
    const old = await startScriptedAgent(t, refusal, (_, res) => res.end('rollcall 0.0.9\n'));
    const { code, stderr } = await runInProcess(['status', '-l', 'role=web', '--agent', old.url]);
    assert.equal(code, 2);
    assert.match(
      stderr,
      /^rollcall status: the agent at http:\S+ is rollcall 0\.0\.9, this is test: .*HTTP 400: unknown parameter "selector"; allowed: cluster, health; upgrade the older one\n$/,
    );
  });

  test('an agent that asks for a token or a certificate has the flag for it', async (t) => {
    for (const [status, flags] of [
      [401, '--agent-token-file'],
      [403, '--agent-cert-file and --agent-key-file'],
    ] as const) {
      const closed = await startScriptedAgent(t, json(status, { detail: 'it is needed' }));
      assert.deepEqual(await list(closed.url), [1, `list the roll at URL: HTTP ${status}: it is needed; see ${flags}`]);
    }
  });

  test('an agent that has no roll yet says why', async (t) => {
    const away = await startScriptedAgent(t, json(503, { detail: 'the roll is not known' }));
    assert.deepEqual(await list(away.url), [1, 'list the roll at URL: HTTP 503: the roll is not known']);
  });
});
