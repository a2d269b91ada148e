import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runProgram } from '../../../src/cli/program.ts';
import type { Terminal } from '../../../src/cli/terminal.ts';
import { registered } from '../../client/sample-events.ts';
import { EMPTY_LIST, json, startScriptedAgent, stream } from '../../client/scripted-agent.ts';
import { startSilentServer } from '../../support/etcd-impostors.ts';
import { until } from '../../support/machine-time.ts';
import { runInProcess, soonStale, testContext } from '../../support/run-in-process.ts';
import { openTestRoll } from '../../support/test-roll.ts';

const PATIENCE_MS = 30_000;

/** `rollcall watch` in this process, until `stop`. */
function watching(args: readonly string[], terminal?: Terminal) {
  const said = { stdout: '', stderr: '' };
  const ending = new AbortController();
  let ended = false;
  const code = runProgram(['watch', ...args], {
    ...testContext(said),
    ...{ signal: ending.signal, terminal, clock: soonStale },
  }).finally(() => {
    ended = true;
  });
  return {
    said,
    code,
    ended: () => ended,
    events: () =>
      said.stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line)),
    async stop() {
      ending.abort(new Error('ended by SIGINT'));
      await code;
    },
  };
}

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'rollcall-watch-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('an agent gives the same events as the store, and one cursor file serves both', async (t) => {
  const roll = await openTestRoll(t);
  await roll.register(1);
  const agent = await roll.serve();
  const direct = watching(['--store', roll.url, '--cluster', 'demo']);
  const served = watching(['--agent', agent, '--cluster', 'demo']);
  const synced = (watch: typeof direct) => watch.events().some(({ type }) => type === 'rollcall.roll.synced');
  await until('both are synced', PATIENCE_MS, () => synced(direct) && synced(served));
  await roll.register(2, { cluster: 'other' });
  await roll.end(3);
  await until('both have all', PATIENCE_MS, () => [direct, served].every((watch) => watch.events().length === 4));
  const timeless = (watch: typeof direct) => watch.events().map(({ time: _, ...event }) => event);
  assert.deepEqual(timeless(served), timeless(direct));
  await Promise.all([direct.stop(), served.stop()]);

  const cursor = ['--cursor', join(await folder(t), 'cursor')];
  const first = watching(['--agent', agent, ...cursor]);
  await until('it is synced', PATIENCE_MS, () => synced(first));
  await first.stop();
  await roll.register(4);
  for (const [n, from] of [
    [4, ['--store', roll.url]],
    [5, ['--agent', agent]],
  ] as const) {
    const next = watching([...from, ...cursor]);
    await until('it goes on', PATIENCE_MS, () => next.events().length > 0);
    assert.deepEqual(
      next.events().map(({ type, subject }) => [type, subject]),
      [['rollcall.instance.registered', `i-0000000${n}`]],
    );
    await next.stop();
    if (n === 4) await roll.register(5);
  }
});

/** An agent whose n-th stream has no event, only `revisions[n]`, if any, and is of the store `ids[n]` or the last of them. */
async function eventless(t: TestContext, ids: readonly string[], revisions: readonly (number | null)[]) {
  let streams = 0;
  const agent = await startScriptedAgent(t, (req, res) => {
    if (req.url?.startsWith('/v1/containerInstances')) return json(200, EMPTY_LIST)(req, res);
    if (req.url?.startsWith('/v1/status')) {
      const id = ids[Math.min(Math.max(streams, 1), ids.length) - 1];
      return json(200, { store: { id } })(req, res);
    }
    const revision = revisions[streams];
    streams += 1;
    stream(revision === null ? 'retry: 1000\n\n' : `id: ${revision}\n\n`, streams < revisions.length ? 'end' : 'stay')(
      req,
      res,
    );
  });
  return { agent, file: join(await folder(t), 'cursor') };
}

test('a cursor that moves without an event is saved', async (t) => {
  const { agent, file } = await eventless(t, ['a'], [5]);
  const saved = () => readFile(file, 'utf8').catch(() => '');
  const watch = watching(['--agent', agent.url, '--types', 'interruption', '--cursor', file]);
  await until('the cursor is saved', PATIENCE_MS, async () => (await saved()) !== '');
  assert.deepEqual(JSON.parse(await saved()), { version: 1, store: 'a', revision: '5' });
  await watch.stop();
});

test('each outage of an agent is logged, also where no event comes between them', async (t) => {
  for (const revisions of [
    [5, 6, 7],
    [5, 5, 5], // nothing has happened meanwhile
    [null, null, null], // and nothing did in the beginning
  ]) {
    const { agent, file } = await eventless(t, ['a'], revisions);
    const watch = watching(['--agent', agent.url, '--types', 'lost', '--cursor', file]);
    const again = () => watch.said.stderr.match(/answers again/g)?.length === 2;
    await until('it answers again', PATIENCE_MS, again);
    await watch.stop();
    const lines = watch.said.stderr.split('\n').map((line) => line.replace(/watch the roll at \S+: /, ''));
    const outage = ['warning: the stream ended; trying again until the agent answers', 'note: the agent answers again'];
    assert.deepEqual(lines, [...outage, ...outage, 'rollcall watch: ended by SIGINT', '']);
  }
});

test('while an agent cannot read its store it says so, once when it begins and once when it is over', async (t) => {
  const roll = await openTestRoll(t);
  await roll.register(1);
  const { agent, cutOff, mend } = await roll.serveBreakable();
  const watch = watching(['--agent', agent]);
  await until('it is synced', PATIENCE_MS, () => watch.events().length === 2);
  assert.equal(watch.said.stderr, '');
  cutOff();
  const away = `warning: the agent at ${agent} cannot read the store; events come when the store answers\n`;
  await until('it says so', PATIENCE_MS, () => watch.said.stderr === away);
  mend();
  // The agent knows by any change that it reads the store again; without one, after some seconds.
  await roll.register(2);
  await until('it is over', PATIENCE_MS, () => watch.said.stderr === `${away}note: the store answers again\n`);
  await watch.stop();
});

test('a value of a filter that no node has is named at the start, from the store and from an agent', async (t) => {
  const roll = await openTestRoll(t);
  await roll.register(1);
  for (const from of [
    ['--store', roll.url],
    ['--agent', await roll.serve()],
  ]) {
    const watch = watching([...from, '--cluster', 'demo,demoo', '--az', 'us-east-1z', '-l', 'role=nod,rack']);
    const lines = () => watch.said.stderr.split('\n').filter(Boolean);
    await until('they are named', PATIENCE_MS, () => lines().length === 4);
    assert.deepEqual(
      lines().map((line) => line.replace(/; .*/, '')),
      [
        'note: no node is in cluster "demoo"',
        'note: no node is in zone "us-east-1z"',
        'note: no node has the label role="nod"',
        'note: no node has the label "rack"',
      ],
    );
    await until('it is synced', PATIENCE_MS, () => watch.events().length > 0);
    await watch.stop();
  }
});

test('a cursor is not saved for another store that answers at the same URL, and the watch ends', async (t) => {
  const { agent, file } = await eventless(t, ['a', 'b'], [5, 6]);
  const watch = watching(['--agent', agent.url, '--types', 'lost', '--cursor', file]);
  await until('the watch ends', PATIENCE_MS, watch.ended);
  assert.equal(await watch.code, 1);
  assert.match(watch.said.stderr, /now has another store: its id is b, was a; restart the watch\n$/);
  assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), { version: 1, store: 'a', revision: '5' });
});

test('a cursor is saved also where the agent takes a while to say which store it has', async (t) => {
  let streams = 0;
  const agent = await startScriptedAgent(t, async (req, res) => {
    if (req.url?.startsWith('/v1/events')) {
      streams += 1;
      return stream(`id: ${streams}\n\n`, streams < 2 ? 'end' : 'stay')(req, res);
    }
    if (!req.url?.startsWith('/v1/status')) return json(200, EMPTY_LIST)(req, res);
    // Longer than the end of a watch waits for it.
    if (streams > 1) await sleep(2_100);
    json(200, { store: { id: 'a' } })(req, res);
  });
  const file = join(await folder(t), 'cursor');
  const watch = watching(['--agent', agent.url, '--cursor', file]);
  await until('it is saved', PATIENCE_MS, async () => (await readFile(file, 'utf8').catch(() => '')).includes('"2"'));
  await watch.stop();
  assert.doesNotMatch(watch.said.stderr, /cursor/);
});

test('a cursor is saved at the end of the watch where an event named the store before the agent did', async (t) => {
  let streams = 0;
  let asked = () => {};
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const event = registered(3, 1);
  const store = event.source.replace('rollcall:', '');
  const agent = await startScriptedAgent(t, async (req, res) => {
    if (req.url?.startsWith('/v1/events')) {
      streams += 1;
      stream(`id: ${streams}\n\n`, streams < 2 ? 'end' : 'stay')(req, res);
      if (streams < 2) return;
      await isAsked;
      res.write(`data: ${JSON.stringify(event)}\nid: 3\n\n`);
      return;
    }
    if (!req.url?.startsWith('/v1/status')) return json(200, EMPTY_LIST)(req, res);
    if (streams > 1) return asked(); // without an answer
    json(200, { store: { id: store } })(req, res);
  });
  const file = join(await folder(t), 'cursor');
  const watch = watching(['--agent', agent.url, '--cursor', file, '-o', 'ndjson']);
  await until('the event is there', PATIENCE_MS, () => watch.events().length === 1);
  await watch.stop();
  assert.match(await readFile(file, 'utf8'), /"3"/);
});

test('on a terminal it prints a line when it is connected and one for each event; -o ndjson prints JSON', async (t) => {
  const roll = await openTestRoll(t);
  await roll.register(1);
  let screen = '';
  const terminal: Terminal = {
    columns: () => 80,
    rows: () => 24,
    redraw: async () => assert.fail('a watch does not redraw'),
    write: async (pieces) => {
      screen += pieces.map(({ text }) => text).join('');
    },
  };
  const watch = watching(['--store', roll.url], terminal);
  await until('it is connected', PATIENCE_MS, () =>
    / {2}connected {5}1 node on the roll at revision \d+\n$/.test(screen),
  );
  await roll.register(2);
  await until('the event', PATIENCE_MS, () =>
    /^\d\d:\d\d:\d\d {2}registered {4}i-00000002 {2}10\.0\.0\.2 .*passing\n$/m.test(screen),
  );
  await watch.stop();
  assert.equal(watch.said.stdout, '');
  const json = watching(['--store', roll.url, '-o', 'ndjson'], terminal);
  await until('it is JSON', PATIENCE_MS, () => json.events().length === 3);
  await json.stop();
  const idle = await runInProcess(['watch', '-o', 'text', '--exec', 'true']);
  assert.match(idle.stderr, /--output has no effect with --exec true, which prints nothing; leave it out/);
});

test('--http posts each event; where the webhook redirects, the watch ends and the cursor has not moved', async (t) => {
  const roll = await openTestRoll(t);
  await roll.register(1);
  let location: string | null = null;
  const bodies: { type: string }[] = [];
  const hook = await startScriptedAgent(t, async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    if (location !== null) return void res.writeHead(302, { Location: location }).end();
    bodies.push(JSON.parse(Buffer.concat(chunks).toString()));
    res.writeHead(202).end();
  });
  const file = join(await folder(t), 'cursor');
  const args = ['--store', roll.url, '--http', `${hook.url}/in`, '--cursor', file];
  const watch = watching(args);
  await until('the snapshot is posted', PATIENCE_MS, () => bodies.some(({ type }) => type === 'rollcall.roll.synced'));
  const saved = async () => (await readFile(file, 'utf8').catch(() => '')).trim();
  await until('the cursor is saved', PATIENCE_MS, async () => (await saved()) !== '');
  const before = await saved();
  location = '/elsewhere';
  await roll.register(2);
  await until('the watch ends', PATIENCE_MS, watch.ended);
  assert.equal(await watch.code, 2);
  assert.match(
    watch.said.stderr,
    /^rollcall watch: --http http:\/\/127\.0\.0\.1:\d+ answers HTTP 302, a redirect, which is not followed; use the URL that takes events\n$/,
  );
  assert.equal(await saved(), before);
  location = null;
  const again = watching(args);
  await until('nothing is lost', PATIENCE_MS, () => bodies.at(-1)?.type === 'rollcall.instance.registered');
  await again.stop();
});

test('--timeout limits a call to etcd', async (t) => {
  const etcd = await startSilentServer();
  t.after(() => etcd.close());
  const watch = watching(['--store', etcd.url.replace('http', 'etcd'), '--timeout', '700ms']);
  await until('it says so', PATIENCE_MS, () => watch.said.stderr.includes('no answer within 700 ms'));
  await watch.stop();
});

test('what is no agent ends the watch with one line, and wrong flags are wrong usage', async (t) => {
  const page = await startScriptedAgent(t, (_, res) => res.end('<html>'));
  const odd = await runInProcess(['watch', '--agent', page.url]);
  assert.equal(odd.code, 2);
  assert.match(odd.stderr, /^rollcall watch: http:\S+ is not a rollcall agent: [^\n]+\n$/);
  for (const [args, pattern] of [
    [['--http', 'http://u@h/'], /Write a URL such as https:/],
    [['--http', 'http://:pw@h/'], /Write a URL such as https:\S+, without a user or password/],
    [['--http', 'http://h/', '--exec', 'true'], /--exec and --http exclude each other; start a watch for each/],
    [['--http-retries', '1'], /--http-retries has no effect without --http; leave it out/],
    [
      ['--http', 'http://h/', '--http-secret-file', '/nonexistent'],
      /cannot read --http-secret-file \/nonexistent: ENOENT/,
    ],
    [
      ['--agent', page.url, '--mass-loss-count', '3'],
      /--mass-loss-count has no effect with --agent \S+, which has its own limits/,
    ],
  ] as const) {
    const { code, stderr } = await runInProcess(['watch', ...args]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, pattern);
    assert.equal(stderr.split('\n').length, 2);
  }
});
