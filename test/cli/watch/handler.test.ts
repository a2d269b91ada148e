import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runProgram } from '../../../src/cli/program.ts';
import { handleEvent, handlerEnvironment, nextStep, runFailure } from '../../../src/cli/watch/handler.ts';
import type { HandlerConfig } from '../../../src/cli/watch/watch-config.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { cloudEvent } from '../../../src/record/cloud-event.ts';
import type { InstanceEvent, RollEvent } from '../../../src/record/events.ts';
import { sampleRecord } from '../../support/sample-record.ts';

describe('after attempt', () => {
  const failed = { failure: 'exit status 1', retries: 3, random: 0.999 };

  test('a successful run finishes its event at any attempt', () => {
    assert.deepEqual(nextStep({ ...failed, failure: null, number: 1 }), { kind: 'finished' });
    assert.deepEqual(nextStep({ ...failed, failure: null, number: 4 }), { kind: 'finished' });
  });

  test('a failed run is retried with growing pauses, then given up', () => {
    const delays = [1, 2, 3].map((number) => {
      const after = nextStep({ ...failed, number });
      assert.equal(after.kind, 'retry');
      return after.kind === 'retry' ? Math.round(after.delayMs) : 0;
    });
    assert.deepEqual(delays, [500, 1000, 1999]);
    assert.deepEqual(nextStep({ ...failed, number: 4 }), { kind: 'given-up' });
    assert.deepEqual(nextStep({ ...failed, retries: 0, number: 1 }), { kind: 'given-up' });
  });

  test('the pause is random, at least half of its bound and at most 30 s', () => {
    // What has just failed for its whole timeout is not tried again at once.
    assert.deepEqual(nextStep({ ...failed, random: 0, number: 1 }), { kind: 'retry', delayMs: 250 });
    assert.deepEqual(nextStep({ ...failed, random: 0, number: 2 }), { kind: 'retry', delayMs: 500 });
    const last = nextStep({ ...failed, retries: 1_000, number: 999 });
    assert.ok(last.kind === 'retry' && last.delayMs <= 30_000);
  });

  test('only exit status 0 within the timeout is a success; anything else has a reason', () => {
    const ended = { status: null, signal: null, timedOut: false };
    assert.equal(runFailure({ ...ended, status: 0 }, 30_000), null);
    assert.equal(runFailure({ ...ended, status: 3 }, 30_000), 'exit status 3');
    assert.equal(runFailure({ ...ended, signal: 'SIGSEGV' }, 30_000), 'ended by SIGSEGV');
    assert.equal(runFailure({ ...ended, signal: 'SIGTERM', timedOut: true }, 30_000), 'not finished within 30s');
    assert.equal(runFailure({ ...ended, status: 0, timedOut: true }, 90_000), 'not finished within 1m30s');
    assert.equal(runFailure(ended, 30_000), 'it could not be killed');
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
    /** The handlers' output in $OUT. */
    written(): Promise<string>;
    run(script: string, handler?: Partial<HandlerConfig>): Promise<void>;
  }

  /** Runs shell scripts as handlers, with the shortest pauses between attempts. */
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

  test('the handler gets the event as one line on stdin, and its fields and the store as variables', async (t) => {
    const w = await world(t);
    await w.run('cat >$OUT; echo "$ROLLCALL_EVENT_TYPE $ROLLCALL_STORE" >>$OUT');
    const [event = '', variables] = (await w.written()).split('\n');
    assert.deepEqual(JSON.parse(event), EVENT);
    assert.equal(variables, 'rollcall.instance.lost sqlite:/of/the/flag');
    assert.deepEqual(w.lines, []);
  });

  test('a handler that fails twice and then succeeds finishes its event, with one line per failure', async (t) => {
    const w = await world(t);
    await w.run('echo x >>$OUT; [ $(wc -l <$OUT) -eq 3 ] || exit 7');
    assert.equal(await w.written(), 'x\nx\nx\n');
    assert.deepEqual(w.lines, [
      'warn: warning: /bin/sh failed on event 42/i-00000000/lost (rollcall.instance.lost of i-00000000): exit status 7; again in 250ms, retry 1 of 2',
      'warn: warning: /bin/sh failed on event 42/i-00000000/lost (rollcall.instance.lost of i-00000000): exit status 7; again in 500ms, retry 2 of 2',
    ]);
  });

  test('an event is given up in one line with the event, the attempts and the last failure', async (t) => {
    const w = await world(t);
    await w.run('echo x >>$OUT; kill -9 $$');
    assert.equal(await w.written(), 'x\nx\nx\n');
    assert.equal(
      w.lines.at(-1),
      'error: error: gave up event 42/i-00000000/lost (rollcall.instance.lost of i-00000000) after 3 attempts of /bin/sh: ended by SIGKILL; going on with the next',
    );
  });

  test('a handler that hangs is killed with its child processes at the timeout, which is a failure', async (t) => {
    const w = await world(t);
    await w.run('sleep 60 & echo $! >>$OUT; wait', { timeoutMs: 200, retries: 0 });
    assert.match(w.lines.join(), /after 1 attempt of \/bin\/sh: not finished within 200ms/);
    await ended(Number(await w.written()));
  });

  test('a handler that no longer starts is a failure, and the watch continues', async (t) => {
    const w = await world(t);
    await w.run('', { argv: ['/nonexistent/handler'], retries: 1 });
    assert.equal(w.lines.length, 2);
    assert.match(w.lines[1] ?? '', /gave up .* after 2 attempts of \/nonexistent\/handler: .*\/nonexistent\/handler/);
  });

  test('an abort kills the running handler with its child processes, and the event is not finished', async (t) => {
    const w = await world(t);
    const running = w.run('sleep 60 & echo $! >>$OUT; wait');
    running.catch(() => {});
    while (!(await w.written().catch(() => '')).endsWith('\n')) await sleep(10);
    w.abort.abort(new Error('ended by SIGTERM'));
    await assert.rejects(running, /ended by SIGTERM/);
    await ended(Number(await w.written()));
    assert.deepEqual(w.lines, []);
  });

  test('an abort during the pause before a retry ends at once', async (t) => {
    const w = await world(t);
    const running = handleEvent(
      EVENT,
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

  /** Resolves when the process has ended; a zombie counts as ended. */
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
    return handlerEnvironment(cloudEvent(event, 'store-1', 0));
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
      ROLLCALL_EVENT_UNCERTAIN: '',
      ROLLCALL_EVENT_DIFFERENCE: '',
      ROLLCALL_EVENT_REASON: '',
    });
  });

  test('an uncertain loss says so', () => {
    const uncertain = { before: { record, presence: null }, revision: '42', after: '41', fate: { decided: null } };
    assert.equal(environment({ ...lost, uncertain })['ROLLCALL_EVENT_UNCERTAIN'], 'true');
  });

  test('a departure has its cause', () => {
    const departed = { ...record, departure: { cause: 'spot-interruption', at: record.registeredAt } } as const;
    const told = environment({ ...lost, kind: 'departed', after: { record: departed, presence: null } });
    assert.equal(told['ROLLCALL_EVENT_CAUSE'], 'spot-interruption');
    assert.equal(told['ROLLCALL_EVENT_PRESENCE'], 'departed');
  });

  test('a forgotten node has its last address and no presence', () => {
    const told = environment({ ...lost, kind: 'forgotten', after: null });
    assert.equal(told['ROLLCALL_EVENT_IP'], '10.113.0.23');
    assert.equal(told['ROLLCALL_EVENT_PRESENCE'], '');
  });

  test('every variable is set for every event, so that no inherited value is passed on', () => {
    const names = Object.keys(environment(lost));
    const synced = environment({ kind: 'synced', revision: '7', entries: [present] });
    assert.deepEqual(Object.keys(synced), names);
    assert.equal(synced['ROLLCALL_EVENT_INSTANCE_ID'], '');
    assert.equal(synced['ROLLCALL_EVENT_SNAPSHOT'], 'true');
    const certain = environment({ kind: 'certain', revision: '7', upTo: '7', part: 0, returned: 1, lost: 2 });
    assert.deepEqual(Object.keys(certain), names);
    assert.equal(certain['ROLLCALL_EVENT_SNAPSHOT'], 'false');
  });

  test('a ghost has what is needed to end it', () => {
    const difference = {
      ...{ kind: 'ghost' as const, instanceId: 'i-0000000a', cluster: 'demo', privateIpAddress: null, since: null },
      ...{ containerInstanceArn: 'arn:aws:ecs:x', reason: 'never on the roll' },
    } as const;
    const found = environment({ kind: 'difference', revision: '7', key: 'k', difference, snapshot: true });
    assert.deepEqual(
      ['TYPE', 'INSTANCE_ID', 'CLUSTER', 'ARN', 'DIFFERENCE', 'REASON', 'SNAPSHOT'].map(
        (name) => found[`ROLLCALL_EVENT_${name}`],
      ),
      ['rollcall.audit.difference', 'i-0000000a', 'demo', 'arn:aws:ecs:x', 'ghost', 'never on the roll', 'true'],
    );
  });

  test('values are cut to a safe length and have no control characters', () => {
    const hostile = sampleRecord({ cluster: 'a\0b\nROLLCALL_STORE=x', privateIpAddress: '1'.repeat(200_000) });
    const told = environment({ ...lost, after: { record: hostile, presence: null } });
    assert.equal(told['ROLLCALL_EVENT_CLUSTER'], 'a?b?ROLLCALL_STORE=x');
    assert.equal(told['ROLLCALL_EVENT_IP']?.length, 4_096);
  });

  test('no flag has a variable with the prefix of an event’s variables', async () => {
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
      help = help.replaceAll(/\s+/g, ' ');
      assert.match(help, /env: ROLLCALL_STORE/);
      assert.doesNotMatch(help, /env: ROLLCALL_EVENT_/);
    }
  });
});
