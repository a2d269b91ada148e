import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { type TestContext, test } from 'node:test';
import { Backoff } from '../../src/lib/backoff.ts';
import { createCell } from '../../src/lib/cell.ts';
import {
  afterFailure,
  type Call,
  type CallEnd,
  type ControlLoop,
  type Done,
  noTrouble,
  retryReason,
  runLoop,
  type Trouble,
  type Wait,
} from '../../src/lib/control-loop.ts';
import { createLoopMonitor } from '../../src/lib/run-group.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

/** Reads a value once a minute, writes it elsewhere when it differs, and deregisters when it is to leave. */
type Step =
  | Wait
  | Done
  | { readonly action: 'read' | 'deregister'; readonly reason: string }
  | { readonly action: 'write'; readonly value: number; readonly reason: string };

interface Answers {
  readonly read: number;
  readonly write: undefined;
  readonly deregister: string;
}

interface State {
  readonly seen: number | null;
  readonly written: number | null;
  readonly readAgainAtMs: number;
  readonly receipt: string | null;
  readonly trouble: Trouble<Call<Step>['action']>;
  readonly ends: readonly CallEnd[];
}

const MINUTE_MS = 60_000;
const LIMIT_MS = 5_000;
const START_MS = 1_000_000;
const never = new Promise<never>(() => {});
const refused = () => {
  const answer = Promise.reject(new Error('refused'));
  answer.catch(() => {}); // not every test makes a call
  return answer;
};

/** @param answer what each call waits for, until the test says otherwise */
function copier(
  t: TestContext,
  answer: Promise<unknown> = Promise.resolve(),
  overrides: Partial<ControlLoop<State, Step, Answers>> = {},
) {
  const clock = simulatedClock({ monotonicMs: START_MS });
  const leaving = createCell(false);
  const stop = new AbortController();
  t.after(() => stop.abort(new Error('the test ended')));
  const calls: string[] = [];
  const steps: string[] = [];
  const world = {
    clock,
    leaving,
    stop,
    /** In the order in which they were made. */
    calls,
    steps,
    state: null as State | null,
    signals: [] as AbortSignal[],
    value: 7,
    answer,
  };
  const calling = async <T>(name: string, signal: AbortSignal, result: T): Promise<T> => {
    calls.push(name);
    world.signals.push(signal);
    await world.answer;
    return result;
  };
  const loop: ControlLoop<State, Step, Answers> = {
    clock,
    random: () => 0.5,
    initial: {
      ...{ seen: null, written: null, readAgainAtMs: START_MS, receipt: null, ends: [] },
      trouble: noTrouble(new Backoff(1_000, 8_000)),
    },
    plan({ trouble, seen, written, readAgainAtMs, receipt }, nowMs) {
      if (receipt !== null) return { action: 'done', reason: receipt };
      if (leaving.get()) return { action: 'deregister', reason: 'leaving' };
      if (nowMs < trouble.retryAtMs) {
        return { action: 'wait', untilMs: trouble.retryAtMs, reason: retryReason(trouble) };
      }
      if (nowMs >= readAgainAtMs) return { action: 'read', reason: 'a minute is over' };
      if (seen !== null && seen !== written) return { action: 'write', value: seen, reason: 'it differs' };
      return { action: 'wait', untilMs: readAgainAtMs, reason: 'it is the same' };
    },
    actions: {
      read: (_, signal) => calling('read', signal, world.value),
      write: ({ value }, signal) => calling(`write ${value}`, signal, undefined),
      deregister: (_, signal) => calling('deregister', signal, 'receipt 1'),
    },
    apply: {
      read: (state, _, seen, end) => ({ ...calm(state, end), seen, readAgainAtMs: end.nowMs + MINUTE_MS }),
      write: (state, { value }, _, end) => ({ ...calm(state, end), written: value }),
      deregister: (state, _, receipt, end) => ({ ...calm(state, end), receipt }),
    },
    applyFailure: (state, { action }, error, end) => ({
      ...state,
      trouble: afterFailure(state.trouble, action, error, end),
      ends: [...state.ends, end],
    }),
    limitMs: () => LIMIT_MS,
    wakeUps: [leaving],
    onStep({ action }, state) {
      steps.push(action);
      world.state = state;
    },
    ...overrides,
  };
  const ended = runLoop(loop, stop.signal);
  ended.catch(() => {}); // awaited by the tests that expect it
  return { ...world, world, ended };
}

function calm(state: State, end: CallEnd): State {
  return { ...state, trouble: noTrouble(state.trouble.backoff), ends: [...state.ends, end] };
}

test('carries out what the plan says, hands each answer to apply, and waits until the next instant', async (t) => {
  const { clock, calls, steps, world, stop } = copier(t);
  await clock.advance(0);
  assert.deepEqual(calls, ['read', 'write 7']);
  assert.deepEqual(steps, ['read', 'read', 'write', 'write', 'wait']);
  await clock.advance(MINUTE_MS - 1);
  assert.equal(calls.length, 2);
  world.value = 8;
  await clock.advance(1);
  assert.deepEqual(calls.slice(2), ['read', 'write 8']);
  assert.equal(getEventListeners(stop.signal, 'abort').length, 1, 'the wait listens, and no call that has ended');
});

test('apply gets when the call was sent and when it ended, on both clocks, and a random number', async (t) => {
  const answer = Promise.withResolvers<void>();
  const { clock, world } = copier(t, answer.promise);
  await clock.advance(2_000);
  answer.resolve();
  await clock.advance(0);
  const wallMs = clock.wallMs();
  assert.deepEqual(world.state?.ends[0], { sentAtMs: START_MS, nowMs: START_MS + 2_000, wallMs, random: 0.5 });
});

test('ends with the last state once the plan is done; a wake-up ends a wait before its time', async (t) => {
  const { clock, leaving, calls, ended } = copier(t);
  await clock.advance(1_000);
  leaving.set(true);
  await clock.advance(0);
  const { receipt, written } = await ended;
  assert.deepEqual([receipt, written, calls.at(-1)], ['receipt 1', 7, 'deregister']);
  assert.equal(clock.sleepers(), 0, 'no timer is left behind');
});

test('a call that ignores its signal has failed at its limit, and the error names the action', async (t) => {
  const { clock, world, signals } = copier(t, never);
  await clock.advance(LIMIT_MS - 1);
  assert.equal(signals[0]?.aborted, false);
  await clock.advance(1);
  assert.equal(signals[0]?.aborted, true);
  const { error, action, retryAtMs } = world.state?.trouble ?? assert.fail();
  assert.deepEqual([error, action], ['read: no answer within 5000 ms', 'read']);
  assert.equal(retryAtMs, START_MS + LIMIT_MS + 500);
});

test('failures are waited for with growing pauses; the first success is the end of the trouble', async (t) => {
  const { clock, calls, world } = copier(t, refused());
  const instants: number[] = [];
  for (let ms = 0; ms < 20_000; ms += 500) {
    await clock.advance(ms === 0 ? 0 : 500);
    if (calls.length > instants.length) instants.push(ms);
  }
  assert.deepEqual(instants, [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500]);
  assert.equal(retryReason(world.state?.trouble ?? assert.fail()), 'retrying: refused');
  world.answer = Promise.resolve();
  await clock.advance(4_000);
  assert.deepEqual(world.state?.trouble, noTrouble(new Backoff(1_000, 8_000)));
  assert.deepEqual(calls.slice(-2), ['read', 'write 7']);
});

test('a call that throws before it waits has failed like any other', async (t) => {
  const { clock, world } = copier(t, undefined, {
    actions: {
      read: () => {
        throw new Error('a defect');
      },
      write: () => never,
      deregister: () => never,
    },
  });
  await clock.advance(0);
  assert.equal(world.state?.trouble.error, 'a defect');
});

test('a call yields to a more urgent step: it neither failed nor succeeded, and the plan is asked again', async (t) => {
  const { clock, world, leaving, calls, signals, ended } = copier(t, never, {
    yields: ({ action }) => leaving.get() && action !== 'deregister',
  });
  await clock.advance(1_000);
  world.answer = Promise.resolve();
  leaving.set(true);
  await clock.advance(0);
  const { trouble, ends } = await ended;
  assert.deepEqual(calls, ['read', 'deregister']);
  assert.equal(signals[0]?.aborted, true);
  assert.deepEqual([trouble.error, ends.length], [null, 1]);
});

test('a wake-up that is no reason to yield leaves the call alone, and is not lost', async (t) => {
  const answer = Promise.withResolvers<void>();
  const { clock, leaving, calls, signals, ended } = copier(t, answer.promise);
  await clock.advance(1_000);
  leaving.set(true);
  await clock.advance(1_000);
  assert.deepEqual([calls, signals[0]?.aborted], [['read'], false]);
  answer.resolve();
  await clock.advance(0);
  assert.deepEqual(calls, ['read', 'deregister'], 'what was read before is not written any more');
  assert.equal((await ended).seen, 7);
});

test('an abort ends a wait, and a call that ignores it, with its reason, and leaves nothing behind', async (t) => {
  for (const answer of [Promise.resolve(), never]) {
    let listeners = 0;
    const listened = {
      onChange: () => {
        listeners += 1;
        return () => {
          listeners -= 1;
        };
      },
    };
    const { clock, stop, ended } = copier(t, answer, { wakeUps: [listened] });
    await clock.advance(1_000);
    assert.equal(listeners, 1);
    stop.abort(new Error('the agent ends'));
    await assert.rejects(ended, /the agent ends/);
    assert.deepEqual([listeners, clock.sleepers()], [0, 0]);
  }
});

test('a call that outlives an abort is heard to its end, or to its limit, and then the loop ends', async (t) => {
  for (const answered of [true, false]) {
    const { clock, world, leaving, stop, signals, ended } = copier(t, undefined, {
      outlivesAbort: ({ action }) => action === 'deregister',
    });
    const answer = Promise.withResolvers<void>();
    await clock.advance(0);
    world.answer = answer.promise;
    leaving.set(true);
    await clock.advance(0);
    stop.abort(new Error('the agent ends'));
    await clock.advance(LIMIT_MS - 1);
    assert.equal(signals.at(-1)?.aborted, false);
    assert.equal(world.state?.receipt, null);
    if (answered) answer.resolve();
    else await clock.advance(1);
    await assert.rejects(ended, /the agent ends/);
    assert.equal(world.state?.receipt, answered ? 'receipt 1' : null);
    assert.equal(world.state?.trouble.action, answered ? null : 'deregister');
  }
});

test('a defect in plan, apply or onStep ends the loop with its error', async (t) => {
  const broken = (): never => {
    throw new TypeError('a defect');
  };
  for (const overrides of [{ plan: broken }, { onStep: broken }, { applyFailure: broken }]) {
    const { clock, ended } = copier(t, refused(), overrides);
    await clock.advance(0);
    await assert.rejects(ended, /a defect/);
    assert.equal(clock.sleepers(), 0);
  }
});

test('moves at least once a call and once a wait: a hung call is no stuck loop, a loop that ended is', async (t) => {
  const watch = simulatedClock();
  const monitor = createLoopMonitor(watch);
  const moved = monitor.track('copier', MINUTE_MS + 1);
  const { clock, world, stop } = copier(t, undefined, { onStep: moved });
  const both = async (ms: number) => {
    await Promise.all([clock.advance(ms), watch.advance(ms)]);
    const [age] = monitor.ages();
    return (age?.ageMs ?? Number.NaN) > (age?.limitMs ?? Number.NaN);
  };
  assert.equal(await both(0), false);
  world.answer = never;
  for (let second = 0; second < 300; second += 1) assert.equal(await both(1_000), false);
  stop.abort(new Error('the agent ends'));
  for (let second = 0; second < 60; second += 1) await both(1_000);
  assert.equal(await both(2_000), true);
});
