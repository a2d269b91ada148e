/** When the page reads: not while no reader can see it, and anew after the computer slept. */

interface AttentionDeps {
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** That of `createPageClock`. */
  readonly monotonicMs: () => number;
  /** True while the page cannot be seen. */
  readonly isHidden: () => boolean;
  /** Resolves at the next change of `isHidden`, and when `signal` aborts. */
  readonly hiddenChanges: (signal: AbortSignal) => Promise<void>;
}

const TICK_MS = 1_000;
/** A browser has six connections to an agent for all its tabs, and an open stream is one. */
const HIDDEN_MS = 30_000;
/** A shorter sleep ends no connection. */
const SLEPT_MS = 10_000;

/**
 * A browser's monotonic clock, which in some browsers stands still while the computer sleeps, with the time that it missed.
 * A wall clock that is set forward counts as sleep: the view is then called too old for a moment, never too new.
 */
export function createPageClock(monotonicMs: () => number, wallMs: () => number): () => number {
  let sleptMs = 0;
  let gapMs = wallMs() - monotonicMs();
  return () => {
    const nowMs = monotonicMs();
    const passedMs = wallMs() - nowMs - gapMs;
    gapMs += passedMs;
    if (passedMs > SLEPT_MS) sleptMs += passedMs;
    return nowMs + sleptMs;
  };
}

/**
 * Resolves when what the page reads is to be ended: the page was hidden for long, the computer slept, or the page is seen
 * again and its stream is silent. Also when `signal` aborts.
 * @param isSilent whether the stream has missed a heartbeat; its connection may have died unseen
 */
export async function attentionEnds(deps: AttentionDeps, isSilent: () => boolean, signal: AbortSignal): Promise<void> {
  let hiddenAtMs = deps.isHidden() ? deps.monotonicMs() : null;
  while (!signal.aborted) {
    const beforeMs = deps.monotonicMs();
    await tickOrChange(deps, signal);
    const nowMs = deps.monotonicMs();
    if (nowMs - beforeMs > TICK_MS + SLEPT_MS) return;
    if (deps.isHidden()) {
      hiddenAtMs ??= nowMs;
      if (nowMs - hiddenAtMs >= HIDDEN_MS) return;
    } else {
      if (hiddenAtMs !== null && isSilent()) return;
      hiddenAtMs = null;
    }
  }
}

async function tickOrChange(deps: AttentionDeps, signal: AbortSignal): Promise<void> {
  const either = new AbortController();
  const stop = () => either.abort();
  signal.addEventListener('abort', stop, { once: true });
  await Promise.race([deps.sleep(TICK_MS, either.signal).catch(() => {}), deps.hiddenChanges(either.signal)]);
  signal.removeEventListener('abort', stop);
  either.abort();
}

/** Resolves when the page can be seen, or `signal` aborts. */
export async function pageIsSeen(deps: AttentionDeps, signal: AbortSignal): Promise<void> {
  while (deps.isHidden() && !signal.aborted) await deps.hiddenChanges(signal);
}
