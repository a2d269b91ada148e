import type { Backoff } from './backoff.ts';
import { type Cell, createCell, sleepUnlessChanged } from './cell.ts';
import type { Clock } from './clock.ts';
import { withDeadline } from './deadline.ts';
import { describeError } from './errors.ts';

/** Nothing to do before `untilMs` (monotonic) unless a wake-up comes. */
export interface Wait {
  readonly action: 'wait';
  readonly untilMs: number;
  /** One line for a person, as in every step. */
  readonly reason: string;
}

/** Nothing to do any more. */
export interface Done {
  readonly action: 'done';
  readonly reason: string;
}

interface AnyStep {
  readonly action: string;
}

/** The steps that are calls: all but `wait` and `done`. */
export type Call<Step extends AnyStep> = Exclude<Step, { readonly action: 'wait' | 'done' }>;

/** How each call is made. `Answers` has the type of each action's answer. */
type Actions<Step extends AnyStep, Answers> = {
  readonly [A in keyof Answers]: (
    call: Call<Step> & { readonly action: A },
    signal: AbortSignal,
  ) => Promise<Answers[A]>;
};

/** The state after the answer to each call; pure. */
export type Apply<State, Step extends AnyStep, Answers> = {
  readonly [A in keyof Answers]: (
    state: State,
    call: Call<Step> & { readonly action: A },
    answer: Answers[A],
    end: CallEnd,
  ) => State;
};

/** When a call ended, and a random number for what follows from it. */
export interface CallEnd {
  /** Monotonic: when the call was sent, and now. */
  readonly sentAtMs: number;
  readonly nowMs: number;
  readonly wallMs: number;
  /** Evenly distributed in [0, 1). */
  readonly random: number;
}

/** What the calls of a loop fail with at present: an immutable value, part of the loop's state. */
export interface Trouble<Action extends string = string> {
  /** Of the last failure, in one line; null while calls succeed. */
  readonly error: string | null;
  /** The call that failed. */
  readonly action: Action | null;
  /** Monotonic: no call before this instant. */
  readonly retryAtMs: number;
  readonly backoff: Backoff;
}

/** The calls succeed. */
export function noTrouble<Action extends string>(backoff: Backoff): Trouble<Action> {
  return { error: null, action: null, retryAtMs: Number.NEGATIVE_INFINITY, backoff: backoff.reset() };
}

/** No call before a random part of the backoff's present ceiling has passed. */
export function afterFailure<Action extends string>(
  { backoff }: Trouble<Action>,
  action: Action,
  error: unknown,
  { nowMs, random }: Pick<CallEnd, 'nowMs' | 'random'>,
): Trouble<Action> {
  return { error: describeError(error), action, retryAtMs: nowMs + backoff.delayMs(random), backoff: backoff.next() };
}

/**
 * For loops whose calls fail apart from each other: only the success of the call that failed ends the trouble. A heartbeat
 * that succeeds says nothing of a write that was refused, since a full or read-only store still takes heartbeats.
 */
export function afterSuccess<State extends { readonly trouble: Trouble }>(
  state: State,
  action: State['trouble']['action'],
): State {
  return state.trouble.action === action ? { ...state, trouble: noTrouble(state.trouble.backoff) } : state;
}

/** A call was answered, but only `noTrouble` makes the pause after the next failure short again. */
export function withoutError<Action extends string>(trouble: Trouble<Action>): Trouble<Action> {
  return { ...trouble, error: null, action: null, retryAtMs: Number.NEGATIVE_INFINITY };
}

export function retryReason({ error }: Trouble): string {
  return `retrying: ${error ?? 'the last call failed'}`;
}

export interface ControlLoop<State, Step extends AnyStep, Answers extends Record<Call<Step>['action'], unknown>> {
  readonly clock: Clock;
  readonly random: () => number;
  readonly initial: State;
  /** The next step; pure, but for what it reads of the rest of the program. @param nowMs on the monotonic clock */
  plan(state: State, nowMs: number): Step;
  readonly actions: Actions<Step, Answers>;
  readonly apply: Apply<State, Step, Answers>;
  /** The state after a call that failed or had no answer within its limit; pure. It may have been carried out. */
  applyFailure(state: State, call: Call<Step>, error: unknown, end: CallEnd): State;
  /** A call that takes longer has failed, even if it ignores its signal. */
  limitMs(call: Call<Step>): number;
  /** Each `set` of one ends a wait, and may end a call: see `yields`. */
  readonly wakeUps: readonly WakeUp[];
  /**
   * Asked at each wake-up during a call: true when a more urgent step is waiting for its end. The call is aborted then;
   * it neither failed nor succeeded, and `plan` is asked again. Default: no call yields.
   */
  yields?(call: Call<Step>): boolean;
  /** Calls that the loop waits for, within their limit, although it was aborted. Default: none. */
  outlivesAbort?(call: Call<Step>): boolean;
  /** Called before and after each call, and before each wait, so that a monitor sees progress. An error that it throws ends the loop. */
  onStep(step: Step, state: State): void;
}

/**
 * Carries out one planned step after the other until the plan is `done`. A failed call does not end the loop: the plan
 * decides when to repeat it. An error in `plan`, `apply` or `onStep` does.
 * @returns the last state
 * @throws the reason of `signal`, in every wait and call
 */
export async function runLoop<State, Step extends AnyStep, Answers extends Record<Call<Step>['action'], unknown>>(
  loop: ControlLoop<State, Step, Answers>,
  signal: AbortSignal,
): Promise<State> {
  // One listener at each cell for as long as the loop runs, and not two for each step.
  const woken = createCell(null);
  const stops = loop.wakeUps.map((cell) => cell.onChange(() => woken.set(null)));
  try {
    return await carryOutAll(loop, woken, signal);
  } finally {
    for (const stop of stops) stop();
  }
}

type WakeUp = Pick<Cell<unknown>, 'onChange'>;

async function carryOutAll<State, Step extends AnyStep, Answers extends Record<Call<Step>['action'], unknown>>(
  loop: ControlLoop<State, Step, Answers>,
  woken: WakeUp,
  signal: AbortSignal,
): Promise<State> {
  const { clock, random } = loop;
  let state = loop.initial;
  for (;;) {
    signal.throwIfAborted();
    const step = loop.plan(state, clock.monotonicMs());
    loop.onStep(step, state);
    if (isDone(step)) return state;
    if (isWait(step)) {
      await sleepUnlessChanged(clock, step.untilMs - clock.monotonicMs(), [woken], signal);
      continue;
    }
    const call = step as Call<Step>;
    const action: keyof Answers = call.action as Call<Step>['action'];
    const sentAtMs = clock.monotonicMs();
    const outcome = await carryOut(loop, call, action, woken, signal);
    if (outcome.kind === 'yielded') continue;
    const end = { sentAtMs, nowMs: clock.monotonicMs(), wallMs: clock.wallMs(), random: random() };
    state =
      outcome.kind === 'answered'
        ? loop.apply[action](state, call as Call<Step> & { action: typeof action }, outcome.answer, end)
        : loop.applyFailure(state, call, outcome.error, end);
    loop.onStep(step, state);
  }
}

type Outcome<Answer> =
  | { readonly kind: 'answered'; readonly answer: Answer }
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'yielded' };

const YIELDED = new Error('a more urgent step is waiting');

async function carryOut<State, Step extends AnyStep, Answers extends Record<Call<Step>['action'], unknown>>(
  loop: ControlLoop<State, Step, Answers>,
  call: Call<Step>,
  action: keyof Answers,
  woken: WakeUp,
  signal: AbortSignal,
): Promise<Outcome<Answers[keyof Answers]>> {
  const outlives = loop.outlivesAbort?.(call) ?? false;
  const ending = new AbortController();
  const wake = () => {
    if (loop.yields?.(call)) ending.abort(YIELDED);
  };
  const stop = woken.onChange(wake);
  try {
    const answer = await withDeadline(
      loop.clock,
      loop.limitMs(call),
      outlives ? new AbortController().signal : signal,
      call.action,
      (callSignal) => loop.actions[action](call as Call<Step> & { action: typeof action }, callSignal),
      ending,
    );
    return { kind: 'answered', answer };
  } catch (error) {
    if (ending.signal.reason === YIELDED) return { kind: 'yielded' };
    if (!outlives) signal.throwIfAborted();
    return { kind: 'failed', error };
  } finally {
    stop();
  }
}

function isWait(step: AnyStep): step is Wait {
  return step.action === 'wait';
}

function isDone(step: AnyStep): step is Done {
  return step.action === 'done';
}
