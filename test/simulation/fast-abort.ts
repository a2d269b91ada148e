import { remove } from './remove.ts';

/**
 * Abort signals without DOM events behind them. Node's take most of the time of a simulated heartbeat, and a simulation has
 * millions. Only for a process or thread that does nothing else: what it replaces is global.
 */
type Listener = (event: unknown) => void;

const EVENT = { type: 'abort' };

/** Shared: an exception of its own for each is most of what an abort costs. */
const ABORTED = new DOMException('This operation was aborted', 'AbortError');

class FastSignal {
  aborted = false;
  reason: unknown = undefined;
  // Most have one listener or two at a time, and a set costs more than all else here: it makes a hash for each.
  #first: Listener | null = null;
  #second: Listener | null = null;
  #more: Listener[] | null = null;

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  /** As all of our listeners want it: once. */
  addEventListener(_type: 'abort', listener: Listener): void {
    if (this.aborted || listener === this.#first || listener === this.#second) return;
    // They are called in the order in which they came: a slot is taken only where none came later.
    if (this.#more !== null) {
      if (!this.#more.includes(listener)) this.#more.push(listener);
    } else if (this.#second !== null) this.#more = [listener];
    else if (this.#first !== null) this.#second = listener;
    else this.#first = listener;
  }

  removeEventListener(_type: 'abort', listener: Listener): void {
    if (listener === this.#first) {
      this.#first = this.#second;
      this.#second = null;
    } else if (listener === this.#second) this.#second = null;
    else if (this.#more !== null && remove(this.#more, listener) && this.#more.length === 0) this.#more = null;
  }

  fire(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    const [first, second, more] = [this.#first, this.#second, this.#more];
    this.#first = null;
    this.#second = null;
    this.#more = null;
    first?.(EVENT);
    second?.(EVENT);
    if (more !== null) for (const listener of more) listener(EVENT);
  }

  static abort(reason: unknown): FastSignal {
    const signal = new FastSignal();
    signal.fire(reason);
    return signal;
  }
}

class FastController {
  readonly signal = new FastSignal();

  abort(reason: unknown = ABORTED): void {
    this.signal.fire(reason);
  }
}

export function installFastAbort(): void {
  // Nor are stack traces looked at, and errors are what a simulation makes most of.
  Error.stackTraceLimit = 0;
  Object.assign(globalThis, { AbortController: FastController, AbortSignal: FastSignal });
}
