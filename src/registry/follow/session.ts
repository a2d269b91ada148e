import type { Clock } from '../../timing/clock.ts';

export interface SessionOptions {
  readonly clock: Clock;
  /** Follows the store until its signal aborts. Never rejects. */
  readonly follow: (signal: AbortSignal, firstOutcome: () => void) => Promise<void>;
  /** Monotonic instant from which on nobody needs it any more; looked at again then. */
  readonly idleAtMs: () => number;
  readonly onEnd: () => void;
}

/** One span of following the store, from the first reader until idle. */
export interface Session {
  readonly startedAtMs: number;
  /** Resolves when the first snapshot came, failed, or is not wanted any more. */
  readonly firstOutcome: Promise<void>;
  /** Resolves when everything under way has come to rest. */
  end(): Promise<void>;
}

export function startSession({ clock, follow, idleAtMs, onEnd }: SessionOptions): Session {
  const controller = new AbortController();
  const { signal } = controller;
  const firstOutcome = Promise.withResolvers<void>();
  const end = () => {
    if (signal.aborted) return;
    controller.abort();
    firstOutcome.resolve();
    onEnd();
  };
  const endWhenIdle = async () => {
    for (let restMs = idleAtMs() - clock.monotonicMs(); restMs > 0; restMs = idleAtMs() - clock.monotonicMs()) {
      if (signal.aborted) return;
      await clock.sleep(restMs, signal).catch(() => {}); // ended already: the loop sees it
    }
    end();
  };
  const ended = Promise.all([follow(signal, firstOutcome.resolve), endWhenIdle()]);
  return {
    startedAtMs: clock.monotonicMs(),
    firstOutcome: firstOutcome.promise,
    async end() {
      end();
      await ended;
    },
  };
}
