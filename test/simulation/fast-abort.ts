/**
 * Abort signals without DOM events behind them. Node's take most of the time of a simulated heartbeat, and a simulation has
 * millions. Only for a process or thread that does nothing else: what it replaces is global.
 */
type Listener = (event: unknown) => void;

const EVENT = { type: 'abort' };

class FastSignal {
  aborted = false;
  reason: unknown = undefined;
  // Most have one listener at a time, and a set costs more than all else here.
  #first: Listener | null = null;
  #more: Set<Listener> | null = null;

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  /** As all of our listeners want it: once. */
  addEventListener(_type: 'abort', listener: Listener): void {
    if (this.aborted || listener === this.#first) return;
    if (this.#first === null && this.#more === null) {
      this.#first = listener;
      return;
    }
    this.#more ??= new Set();
    this.#more.add(listener);
  }

  removeEventListener(_type: 'abort', listener: Listener): void {
    if (listener === this.#first) this.#first = null;
    else if (this.#more?.delete(listener) && this.#more.size === 0) this.#more = null;
  }

  fire(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    const [first, more] = [this.#first, this.#more];
    this.#first = null;
    this.#more = null;
    first?.(EVENT);
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

  abort(reason: unknown = new DOMException('This operation was aborted', 'AbortError')): void {
    this.signal.fire(reason);
  }
}

export function installFastAbort(): void {
  // Nor are stack traces looked at, and errors are what a simulation makes most of.
  Error.stackTraceLimit = 0;
  Object.assign(globalThis, { AbortController: FastController, AbortSignal: FastSignal });
}
