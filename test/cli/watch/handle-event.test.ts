import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HandlerConfig } from '../../../src/cli/watch/handler.ts';
import { handleEvent } from '../../../src/cli/watch/handler.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { cloudEvent } from '../../../src/record/cloud-event.ts';
import { sampleRecord } from '../../support/sample-record.ts';

const record = sampleRecord();
const after = { record, presence: null };
const lost = {
  kind: 'lost',
  revision: '42',
  instanceId: record.ec2InstanceId,
  before: null,
  after,
  snapshot: false,
} as const;
const EVENT = cloudEvent(lost, 'store-1', 0);

interface World {
  readonly lines: string[];
  readonly abort: AbortController;
  /** What the handlers wrote into $OUT. */
  written(): Promise<string>;
  run(script: string, handler?: Partial<HandlerConfig>): Promise<void>;
}

/** Handlers that are shell scripts; waits between attempts take no time. */
async function world(t: TestContext): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-handler-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const out = join(dir, 'out');
  const lines: string[] = [];
  const abort = new AbortController();
  t.after(() => abort.abort());
  return {
    lines,
    abort,
    written: () => readFile(out, 'utf8'),
    run: (script, handler = {}) =>
      handleEvent(
        EVENT,
        { ROLLCALL_EVENT_TYPE: EVENT.type },
        {
          argv: ['/bin/sh', '-c', script],
          timeoutMs: 10_000,
          retries: 2,
          storeVariables: { ROLLCALL_STORE: 'sqlite:/of/the/flag' },
          ...handler,
        },
        {
          clock: systemClock,
          random: () => 0,
          env: { PATH: process.env['PATH'], OUT: out, ROLLCALL_STORE: 'sqlite:/of/the/environment' },
          signal: abort.signal,
          log: (severity, line) => lines.push(`${severity}: ${line}`),
        },
      ),
  };
}

test('the handler gets the event as one line on stdin, its fields and our store in the environment', async (t) => {
  const w = await world(t);
  await w.run('cat >$OUT; echo "$ROLLCALL_EVENT_TYPE $ROLLCALL_STORE" >>$OUT');
  const [event = '', variables] = (await w.written()).split('\n');
  assert.deepEqual(JSON.parse(event), EVENT);
  assert.equal(variables, 'rollcall.instance.lost sqlite:/of/the/flag');
  assert.deepEqual(w.lines, []);
});

test('a handler that fails twice and then works has finished its event; each failure is one line', async (t) => {
  const w = await world(t);
  await w.run('echo x >>$OUT; [ $(wc -l <$OUT) -eq 3 ] || exit 7');
  assert.equal(await w.written(), 'x\nx\nx\n');
  assert.deepEqual(w.lines, [
    'warn: warning: /bin/sh failed on event 42/i-00000000/lost (rollcall.instance.lost of i-00000000): exit status 7; again in 0ms, retry 1 of 2',
    'warn: warning: /bin/sh failed on event 42/i-00000000/lost (rollcall.instance.lost of i-00000000): exit status 7; again in 0ms, retry 2 of 2',
  ]);
});

test('a handler that never works is given up in one line with the event, the attempts and the last failure', async (t) => {
  const w = await world(t);
  await w.run('echo x >>$OUT; kill -9 $$');
  assert.equal(await w.written(), 'x\nx\nx\n');
  assert.equal(
    w.lines.at(-1),
    'error: error: gave up event 42/i-00000000/lost (rollcall.instance.lost of i-00000000) after 3 attempts of /bin/sh: ended by SIGKILL; going on with the next',
  );
});

test('a handler that hangs is killed with its children at the timeout, which is a failure', async (t) => {
  const w = await world(t);
  await w.run('sleep 60 & echo $! >>$OUT; wait', { timeoutMs: 200, retries: 0 });
  assert.match(w.lines.join(), /after 1 attempt of \/bin\/sh: no end within 200ms/);
  await ended(Number(await w.written()));
});

test('a handler that cannot be started any more is a failure like others, not the end', async (t) => {
  const w = await world(t);
  await w.run('', { argv: ['/nonexistent/handler'], retries: 1 });
  assert.equal(w.lines.length, 2);
  assert.match(w.lines[1] ?? '', /gave up .* after 2 attempts of \/nonexistent\/handler: .*\/nonexistent\/handler/);
});

test('an abort in the middle of a handler kills it with its children, and the event does not count as finished', async (t) => {
  const w = await world(t);
  const running = w.run('sleep 60 & echo $! >>$OUT; wait');
  running.catch(() => {});
  while (!(await w.written().catch(() => '')).endsWith('\n')) await sleep(10);
  w.abort.abort(new Error('ended by SIGTERM'));
  await assert.rejects(running, /ended by SIGTERM/);
  await ended(Number(await w.written()));
  assert.deepEqual(w.lines, []);
});

test('an abort while the next attempt is waited for ends at once', async (t) => {
  const w = await world(t);
  const running = handleEvent(
    EVENT,
    {},
    { argv: ['/bin/false'], timeoutMs: 10_000, retries: 5, storeVariables: {} },
    {
      clock: systemClock,
      random: () => 0.999,
      env: {},
      signal: w.abort.signal,
      log: () => w.abort.abort(new Error('ended by SIGINT')),
    },
  );
  await assert.rejects(running, /ended by SIGINT/);
});

/** Resolves when there is no such process; a zombie that nobody has waited for yet counts as ended. */
async function ended(pid: number): Promise<void> {
  assert.ok(pid > 1);
  for (;;) {
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') X');
    if (/\) [XZ]/.test(state)) return;
    await sleep(10);
  }
}
