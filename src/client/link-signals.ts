/** A controller that aborts with the first of several signals, until it is unlinked. */
export interface Linked {
  readonly controller: AbortController;
  unlink(): void;
}

/** Written out instead of `AbortSignal.any`, because that keeps every derived signal reachable from a long-lived parent. */
export function linkSignals(...signals: readonly (AbortSignal | undefined)[]): Linked {
  const controller = new AbortController();
  const stops = signals.map((signal) => {
    if (!signal) return () => {};
    const onAbort = () => controller.abort(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    return () => signal.removeEventListener('abort', onAbort);
  });
  return {
    controller,
    unlink() {
      for (const stop of stops) stop();
    },
  };
}
