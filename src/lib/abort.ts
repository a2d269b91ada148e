/**
 * Calls `act` with the signal's reason when `signal` aborts, or at once if it has aborted already. Disposing removes the
 * listener. Dispose at the end of the work: otherwise a signal that lives longer keeps the work reachable.
 * @param signal undefined: never aborts
 */
export function onAbort(signal: AbortSignal | undefined, act: (reason: unknown) => void): Disposable {
  const listener = () => act(signal?.reason);
  if (signal?.aborted) listener();
  else signal?.addEventListener('abort', listener, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener('abort', listener) };
}

/** Settles as `work` does, or rejects with the signal's reason when `signal` aborts first. The work itself is not stopped. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    const end = () => signal.removeEventListener('abort', abort);
    work.then(
      (value) => {
        end();
        resolve(value);
      },
      (error: unknown) => {
        end();
        reject(error);
      },
    );
  });
}

/** Rejects with the signal's reason when `signal` aborts; never resolves. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return abortable(new Promise<never>(() => {}), signal);
}

/**
 * A controller that aborts with the first of several signals, until it is disposed. Disposing does not abort it.
 * Used instead of `AbortSignal.any`, which keeps every derived signal reachable from a long-lived parent.
 */
export function linkSignals(...signals: readonly (AbortSignal | undefined)[]): AbortController & Disposable {
  const controller = new AbortController();
  const links = signals.map((signal) => onAbort(signal, (reason) => controller.abort(reason)));
  return Object.assign(controller, {
    [Symbol.dispose]() {
      for (const link of links) link[Symbol.dispose]();
    },
  });
}
