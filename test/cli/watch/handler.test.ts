import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runProgram } from '../../../src/cli/program.ts';
import {
  afterAttempt,
  failureOf,
  type HandlerConfig,
  handleEvent,
  handlerEnvironment,
} from '../../../src/cli/watch/handler.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { cloudEvent } from '../../../src/record/cloud-event.ts';
import type { InstanceEvent, RollEvent } from '../../../src/record/events.ts';
import { sampleRecord } from '../../support/sample-record.ts';

describe('after attempt', () => {
  const failed = { failure: 'exit status 1', retries: 3, random: 0.999 };

  test('a run that worked finishes its event, whichever it was', () => {
    assert.deepEqual(afterAttempt({ ...failed, failure: null, number: 1 }), { kind: 'finished' });
    assert.deepEqual(afterAttempt({ ...failed, failure: null, number: 4 }), { kind: 'finished' });
  });

  test('a run that failed is repeated as often as allowed, later each time, and then given up', () => {
    const delays = [1, 2, 3].map((number) => {
      const after = afterAttempt({ ...failed, number });
      assert.equal(after.kind, 'retry');
      return after.kind === 'retry' ? Math.round(after.delayMs) : 0;
    });
    assert.deepEqual(delays, [500, 999, 1998]);
    assert.deepEqual(afterAttempt({ ...failed, number: 4 }), { kind: 'given-up' });
    assert.deepEqual(afterAttempt({ ...failed, retries: 0, number: 1 }), { kind: 'given-up' });
  });

  test('the wait is drawn from zero on, and is never longer than half a minute', () => {
    assert.deepEqual(afterAttempt({ ...failed, random: 0, number: 2 }), { kind: 'retry', delayMs: 0 });
    const last = afterAttempt({ ...failed, retries: 1_000, number: 999 });
    assert.ok(last.kind === 'retry' && last.delayMs <= 30_000);
  });

  test('only exit status 0 within the time counts as worked; the rest says what happened', () => {
    const ended = { status: null, signal: null, timedOut: false };
    assert.equal(failureOf({ ...ended, status: 0 }, 30_000), null);
    assert.equal(failureOf({ ...ended, status: 3 }, 30_000), 'exit status 3');
    assert.equal(failureOf({ ...ended, signal: 'SIGSEGV' }, 30_000), 'ended by SIGSEGV');
    assert.equal(failureOf({ ...ended, signal: 'SIGTERM', timedOut: true }, 30_000), 'no end within 30s');
    assert.equal(failureOf({ ...ended, status: 0, timedOut: true }, 90_000), 'no end within 1m30s');
    assert.equal(failureOf(ended, 30_000), 'it could not be ended');
  });
});

describe('handle event', () => {
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
});

describe('handler environment', () => {
  const record = sampleRecord();
  const presence = { session: 's', since: record.registeredAt, ttlSeconds: 30 };
  const present = { record, presence };
  const lost: InstanceEvent = {
    kind: 'lost',
    revision: '42',
    instanceId: record.ec2InstanceId,
    before: present,
    after: { record, presence: null },
    snapshot: false,
  };

  function environment(event: RollEvent) {
    return handlerEnvironment(event, cloudEvent(event, 'store-1', 0));
  }

  test('the main fields of an event are variables', () => {
    assert.deepEqual(environment(lost), {
      ROLLCALL_EVENT_TYPE: 'rollcall.instance.lost',
      ROLLCALL_EVENT_ID: '42/i-00000000/lost',
      ROLLCALL_EVENT_REVISION: '42',
      ROLLCALL_EVENT_SNAPSHOT: 'false',
      ROLLCALL_EVENT_INSTANCE_ID: 'i-00000000',
      ROLLCALL_EVENT_CLUSTER: 'demo',
      ROLLCALL_EVENT_IP: '10.113.0.23',
      ROLLCALL_EVENT_ARN: record.containerInstanceArn,
      ROLLCALL_EVENT_HEALTH: 'passing',
      ROLLCALL_EVENT_PRESENCE: 'lost',
      ROLLCALL_EVENT_CAUSE: '',
    });
  });

  test('a departure tells its cause', () => {
    const departed = { ...record, departure: { cause: 'spot-interruption', at: record.registeredAt } } as const;
    const told = environment({ ...lost, kind: 'departed', after: { record: departed, presence: null } });
    assert.equal(told['ROLLCALL_EVENT_CAUSE'], 'spot-interruption');
    assert.equal(told['ROLLCALL_EVENT_PRESENCE'], 'departed');
  });

  test('a node that was forgotten still has the address it had, and no presence', () => {
    const told = environment({ ...lost, kind: 'forgotten', after: null });
    assert.equal(told['ROLLCALL_EVENT_IP'], '10.113.0.23');
    assert.equal(told['ROLLCALL_EVENT_PRESENCE'], '');
  });

  test('every variable is set for every event, so that nothing of an outer event shows through', () => {
    const names = Object.keys(environment(lost));
    const synced = environment({ kind: 'synced', revision: '7', entries: [present] });
    assert.deepEqual(Object.keys(synced), names);
    assert.equal(synced['ROLLCALL_EVENT_INSTANCE_ID'], '');
    assert.equal(synced['ROLLCALL_EVENT_SNAPSHOT'], 'true');
    const certain = environment({ kind: 'certain', revision: '7', part: 0, returned: 1, lost: 2 });
    assert.deepEqual(Object.keys(certain), names);
    assert.equal(certain['ROLLCALL_EVENT_SNAPSHOT'], 'false');
  });

  test('a hostile record can neither break the start of a program nor forge lines', () => {
    const hostile = sampleRecord({ cluster: 'a\0b\nROLLCALL_STORE=x', privateIpAddress: '1'.repeat(200_000) });
    const told = environment({ ...lost, after: { record: hostile, presence: null } });
    assert.equal(told['ROLLCALL_EVENT_CLUSTER'], 'a?b?ROLLCALL_STORE=x');
    assert.equal(told['ROLLCALL_EVENT_IP']?.length, 4_096);
  });

  test('no flag of any command has a variable that begins like an event’s', async () => {
    for (const command of ['agent', 'list', 'show', 'watch', 'simulate']) {
      let help = '';
      const write = process.stdout.write;
      process.stdout.write = ((text: string) => {
        help += text;
        return true;
      }) as typeof write;
      try {
        await runProgram([command, '--help'], {
          env: {},
          version: 'test',
          clock: systemClock,
          random: () => 0,
          stdout: async () => {},
          stderr: () => {},
          onStopSignal: () => {},
          signal: new AbortController().signal,
          residentBytes: () => 1,
          self: [process.execPath],
        });
      } finally {
        process.stdout.write = write;
      }
      assert.match(help, /env: ROLLCALL_STORE/);
      assert.doesNotMatch(help, /env: ROLLCALL_EVENT_/);
    }
  });
});
