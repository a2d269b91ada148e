import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type AgentSource, createAgentSource } from '../../src/client/agent-source.ts';
import { connect } from '../../src/client/connect.ts';
import { connectHttp } from '../../src/client/connect-http.ts';
import { fetchTransport } from '../../src/client/fetch-transport.ts';
import { openHttpSource } from '../../src/client/http-source.ts';
import type { CloudBatch, RollCloudEvent, RollcallClient } from '../../src/client/types.ts';
import { AgentError } from '../../src/client/types.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { DeadlineError } from '../../src/lib/deadline.ts';
import { instanceJson } from '../../src/record/roll.ts';
import { FutureRevisionError, SlowReaderError } from '../../src/registry/event-source.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import { lost, registered, sampleEntry, synced, eventText as text } from './sample-events.ts';
import { EMPTY_LIST, json, type ScriptedAgent, startScriptedAgent, stream } from './scripted-agent.ts';

/** The first batch of each stream. */
const OPEN: CloudBatch = { events: [] };
const ALL = { since: null, nodes: {}, kinds: null, hold: false };

/** The two ways in which an agent is asked. */
const WAYS: Readonly<
  Record<string, { connect(url: string): RollcallClient; open(url: string, clock: Clock): AgentSource }>
> = {
  'the client of Node': { connect, open: openHttpSource },
  fetch: {
    connect: connectHttp,
    open: (url, clock) => createAgentSource(url, clock, fetchTransport(url, fetch, null)),
  },
};

async function collect(batches: AsyncIterable<CloudBatch>, into: CloudBatch[]): Promise<void> {
  for await (const batch of batches) into.push(batch);
}

for (const [name, way] of Object.entries(WAYS)) {
  describe(`by ${name}`, () => {
    function client(t: TestContext, agent: ScriptedAgent) {
      const opened = way.connect(agent.url);
      t.after(() => opened.close());
      return opened;
    }

    function source(t: TestContext, agent: ScriptedAgent, clock: Clock = systemClock) {
      const opened = way.open(agent.url, clock);
      t.after(() => opened.close());
      return opened;
    }

    test('a list sends its criteria and returns the agent’s answer, with the request’s time added to the age', async (t) => {
      const containerInstances = [1, 2].map((n) => instanceJson(sampleEntry(n)));
      const clock = simulatedClock();
      const agent = await startScriptedAgent(t, async (req, res) => {
        await clock.advance(40);
        json(200, { ...EMPTY_LIST, containerInstances })(req, res);
      });
      const query = new URLSearchParams([
        ['cluster', 'a b'],
        ['cluster', 'c'],
      ]);
      const list = await source(t, agent, clock).list(query, new AbortController().signal);
      assert.deepEqual(list, { ...EMPTY_LIST, containerInstances, ageMs: 52 });
      await client(t, agent).list({ cluster: ['a', 'b', 'c'], selector: 'k=a b', health: 'passing', presence: 'all' });
      assert.deepEqual(agent.asked, [
        '/v1/containerInstances?cluster=a+b&cluster=c',
        '/v1/containerInstances?cluster=a&cluster=b&cluster=c&health=passing&presence=all&selector=k%3Da+b',
      ]);
    });

    test('a list is asked for in gzip, and read; the body of a problem, too', async (t) => {
      const list = { ...EMPTY_LIST, containerInstances: [instanceJson(sampleEntry(1))] };
      const asked: (string | undefined)[] = [];
      const packed = (status: number, body: Buffer) => (req: IncomingMessage, res: ServerResponse) => {
        asked.push(req.headers['accept-encoding']);
        res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }).end(body);
      };
      const agent = await startScriptedAgent(
        t,
        packed(200, gzipSync(JSON.stringify(list))),
        packed(503, gzipSync(JSON.stringify({ status: 503, detail: 'the roll is not known' }))),
        packed(200, Buffer.from(JSON.stringify(list))),
      );
      const read = client(t, agent);
      assert.deepEqual((await read.list()).containerInstances, list.containerInstances);
      await assert.rejects(read.list(), { message: /: HTTP 503: the roll is not known$/ });
      await assert.rejects(read.list(), AgentError);
      assert.deepEqual(
        asked.map((header) => header?.includes('gzip')),
        [true, true, true],
      );
    });

    test('nodes of a newer agent are skipped and named; the uncertainty and the agent’s own skipped keys are kept', async (t) => {
      const uncertainty = { vanished: 6, nodes: 10, limitShare: 0.3, limitCount: 5, since: 'a', until: 'b' };
      const node = instanceJson(sampleEntry(1));
      const containerInstances = [node, { ...instanceJson(sampleEntry(2)), schemaVersion: 2 }, 7];
      const skipped = [{ key: 'v1/records/x', reason: 'not JSON' }];
      const agent = await startScriptedAgent(t, json(200, { ...EMPTY_LIST, containerInstances, uncertainty, skipped }));
      const list = await client(t, agent).list();
      assert.deepEqual(list.containerInstances, [node]);
      assert.deepEqual(list.uncertainty, uncertainty);
      assert.deepEqual(list.skipped, [
        ...skipped,
        { key: 'i-00000002', reason: 'schemaVersion 2 is newer than 1; upgrade this reader' },
        { key: 'containerInstances', reason: 'instance: expected an object' },
      ]);
    });

    test('a list that is refused, invalid or not answered rejects with one line', async (t) => {
      const problem = { title: 'Service Unavailable', status: 503, detail: 'the roll is not known' };
      const cases: [Parameters<typeof startScriptedAgent>[1], RegExp, boolean][] = [
        [json(503, problem), /^list the roll at http:\S+: HTTP 503: the roll is not known$/, true],
        [json(404, 'what?'), /^list the roll at http:\S+: HTTP 404; use the URL of a rollcall agent$/, false],
        [json(302, ''), /: HTTP 302, a redirect, which is not followed; use the URL of a rollcall agent$/, false],
        [
          json(200, { containerInstances: 1 }),
          /: cannot read the answer: skipped: expected a list; use the URL of a rollcall agent$/,
          false,
        ],
        [(_, res) => res.end('<html>'), /: cannot read the answer: Unexpected token/, false],
        [
          (_, res) => res.socket?.end('SSH-2.0-OpenSSH_9.2\r\n'),
          /: cannot read the answer: .*Expected HTTP.*; use the URL of a rollcall agent$/,
          false,
        ],
        [
          (_, res) => res.destroy(),
          /: (socket hang up; if the port speaks TLS, use https:\/\/|other side closed)$/,
          true,
        ],
      ];
      for (const [answer, message, retryable] of cases) {
        const agent = await startScriptedAgent(t, answer);
        await assert.rejects(client(t, agent).list(), (error: AgentError) => {
          assert.ok(error instanceof AgentError);
          assert.match(error.message, message);
          assert.equal(error.retryable, retryable);
          return true;
        });
      }
      const silent = await startScriptedAgent(t, () => {});
      await assert.rejects(client(t, silent).list({ timeoutMs: 50 }), DeadlineError);
      for (const timeoutMs of [0, -1, Number.NaN])
        await assert.rejects(client(t, silent).list({ timeoutMs }), /^UsageError: timeoutMs .*: expected milliseconds/);
      const signal = AbortSignal.timeout(50);
      await assert.rejects(client(t, silent).list({ signal }), (error) => error === signal.reason);
    });

    test('a stream is open at its first bytes, and gives events, the cursor of a batch, a cursor alone, and a cleared one', async (t) => {
      const newer = { ...registered(9, 3), type: 'rollcall.instance.unheard-of' };
      const agent = await startScriptedAgent(
        t,
        stream(
          [
            'retry: 1000\n\n',
            text(registered(7, 1, true)),
            text(synced(7, 1), '7'),
            ':\n\nid: 8\n\n',
            text(newer as unknown as RollCloudEvent, '9'),
            'id:\n\n',
            text(lost(10, 1), '10'),
          ].join(''),
          'end',
        ),
      );
      const seen: CloudBatch[] = [];
      const request = { since: '5', nodes: { cluster: ['a', 'b'] }, kinds: ['lost', 'synced'], hold: true } as const;
      await collect(source(t, agent).stream(request, new AbortController().signal), seen);
      assert.deepEqual(seen, [
        OPEN,
        { events: [registered(7, 1, true)] },
        { events: [synced(7, 1)], cursor: '7' },
        { events: [], cursor: '8' },
        { events: [], cursor: '9' },
        { events: [], cursor: null },
        { events: [lost(10, 1)], cursor: '10' },
      ]);
      assert.deepEqual(agent.asked, ['/v1/events?uncertain=hold&since=5&cluster=a&cluster=b&types=lost&types=synced']);
    });

    test('a watch skips an event of a newer agent, names its node, and goes on', async (t) => {
      const data = { ...lost(8, 2).data, record: { ...sampleEntry(2).record, schemaVersion: 2 } };
      const newer = { ...lost(8, 2), data } as unknown as RollCloudEvent;
      const agent = await startScriptedAgent(
        t,
        stream(text(registered(7, 1, true)) + text(synced(7, 1, 2), '7') + text(newer, '8'), 'cut'),
        stream(text(lost(9, 1), '9')),
      );
      const told: unknown[] = [];
      const onSkipped = (skipped: unknown) => told.push(skipped);
      for await (const { id, cursor } of client(t, agent).watch({ onSkipped })) {
        told.push([id, cursor]);
        if (cursor === '9') break;
      }
      const reason = 'schemaVersion 2 is newer than 1; upgrade this reader';
      assert.deepEqual(told, [
        ['7/i-00000001/registered/snapshot', null],
        ['7/synced', '7'],
        { key: 'i-00000002', reason },
        ['9/i-00000001/lost', '9'],
      ]);
      assert.deepEqual(agent.asked.slice(1), ['/v1/events?uncertain=hold&since=8']);
    });

    test('an older agent, which holds uncertain losses in every stream, is asked again without the parameter', async (t) => {
      const agent = await startScriptedAgent(
        t,
        json(400, { detail: 'unknown parameter "uncertain"; allowed: since, cluster, types' }),
        stream(text(lost(10, 1), '10'), 'end'),
      );
      const seen: CloudBatch[] = [];
      await collect(source(t, agent).stream({ ...ALL, since: '5', hold: true }, new AbortController().signal), seen);
      assert.deepEqual(seen, [OPEN, { events: [lost(10, 1)], cursor: '10' }]);
      assert.deepEqual(agent.asked, ['/v1/events?uncertain=hold&since=5', '/v1/events?since=5']);
    });

    test('a failed stream has its cause: too slow, refused, not an agent, invalid data, an invalid id', async (t) => {
      const slow = 'event: error\ndata: {"title":"Slow reader","detail":"too slow","cursor":"7"}\n\n';
      const future = { status: 400, detail: 'resume after …', since: '9', current: '7' };
      const html = (_: unknown, res: { setHeader(name: string, value: string): void; end(text: string): void }) => {
        res.setHeader('Content-Type', 'text/html');
        res.end('<html>');
      };
      const cases: [Parameters<typeof startScriptedAgent>[1], new (...args: never[]) => Error, RegExp, boolean][] = [
        [stream(slow), SlowReaderError, /^watch the roll at http:\S+: too slow$/, true],
        [json(400, future), FutureRevisionError, /^resume after revision 9: the store is at 7, so /, false],
        [json(400, { detail: 'types "x" is not known' }), AgentError, /HTTP 400: types "x" is not known$/, false],
        [json(503, { detail: 'a\u001b[2J\nb\u202ec'.repeat(500) }), AgentError, /^[^\p{Cc}\u202e]{100,700}$/u, true],
        [stream(`event: error\ndata: {"detail":"a\\u001b[2J\\nb"}\n\n`), SlowReaderError, /: a\?\[2J b$/, true],
        [json(404, {}), AgentError, /HTTP 404; use the URL of a rollcall agent$/, false],
        [html, AgentError, /the answer has content type "text\/html"; use the URL of a rollcall agent$/, false],
        [stream('data: {\n\n'), AgentError, /cannot read the answer: /, false],
        [
          stream(': \n\nid: seven\n\n'),
          AgentError,
          /cannot read the answer: id "seven": expected a revision; use the URL of a rollcall agent$/,
          false,
        ],
        [stream(':\n\n', 'cut'), AgentError, /^watch the roll at http:/, true],
      ];
      for (const [answer, kind, message, retryable] of cases) {
        const agent = await startScriptedAgent(t, answer);
        const failing = collect(source(t, agent).stream(ALL, new AbortController().signal), []);
        await assert.rejects(failing, (error: AgentError) => {
          assert.ok(error instanceof kind, String(error));
          assert.match(error.message, message);
          assert.equal(error.retryable, retryable);
          return true;
        });
      }
      const busy = await startScriptedAgent(t, json(503, { detail: 'no more readers' }, { 'Retry-After': '5' }));
      await assert.rejects(collect(source(t, busy).stream(ALL, new AbortController().signal), []), {
        status: 503,
        retryable: true,
        retryAfterMs: 5_000,
      });
    });

    test('a stream without data for 30 s is broken, and so is one without an answer for 20 s', async (t) => {
      const clock = simulatedClock();
      let beat = () => false;
      const beating = await startScriptedAgent(t, (_, res) => {
        res.writeHead(200, { 'Content-Type': 'text/event-stream' });
        res.write('id: 7\n\n');
        beat = () => res.write('id: 8\n\n');
      });
      const seen: CloudBatch[] = [];
      const outcome = collect(source(t, beating, clock).stream(ALL, new AbortController().signal), seen).catch(
        (e) => e,
      );
      await until('the first block is read', PATIENCE_MS, () => seen.length === 2);
      await clock.advance(29_000);
      beat();
      await until('the second block is read', PATIENCE_MS, () => seen.length === 3);
      await clock.advance(29_000);
      await clock.advance(999);
      assert.equal(clock.sleepers(), 1, 'it still waits');
      await clock.advance(1);
      assert.ok((await outcome) instanceof DeadlineError);
      await until('the connection is closed', PATIENCE_MS, async () => (await beating.connections()) === 0);

      const silent = await startScriptedAgent(t, () => {});
      const waiting = collect(source(t, silent, clock).stream(ALL, new AbortController().signal), []).catch((e) => e);
      await until('it is asked', PATIENCE_MS, () => silent.asked.length === 1);
      await clock.advance(20_000);
      assert.ok((await waiting) instanceof DeadlineError);
      await until('the connection is closed', PATIENCE_MS, async () => (await silent.connections()) === 0);
    });

    test('a watch continues after its cursor when the agent restarts, is busy or disconnects it; leaving it closes the connection', async (t) => {
      const agent = await startScriptedAgent(
        t,
        stream(text(registered(7, 1, true)) + text(synced(7, 1), '7'), 'cut'),
        json(503, { detail: 'starting' }),
        stream(`${text(lost(8, 1), '8')}event: error\ndata: {"detail":"too slow"}\n\n`, 'end'),
        stream(text(registered(9, 1), '9')),
      );
      const opened = client(t, agent);
      const cursors: (string | null)[] = [];
      for await (const event of opened.watch()) {
        cursors.push(event.cursor);
        if (event.cursor === '9') break;
      }
      assert.deepEqual(cursors, [null, '7', '8', '9']);
      const asked = ['', '&since=7', '&since=7', '&since=8'].map((since) => `/v1/events?uncertain=hold${since}`);
      assert.deepEqual(agent.asked, asked);
      await until('the connection is closed', PATIENCE_MS, async () => (await agent.connections()) === 0);
    });

    test('closing a client ends a stream whose consumer still handles an event', async (t) => {
      const agent = await startScriptedAgent(t, stream(text(registered(7, 1, true)) + text(synced(7, 1), '7')));
      const opened = client(t, agent);
      let seen = 0;
      for await (const _ of opened.watch()) {
        seen += 1;
        await opened.close();
      }
      assert.equal(seen, 1);
      await until('the connection is closed', PATIENCE_MS, async () => (await agent.connections()) === 0);
    });
  });
}
