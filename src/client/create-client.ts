import { RollcallError } from '../errors.ts';
import type { Clock } from '../timing/clock.ts';
import { withDeadline } from '../timing/with-deadline.ts';
import { linkSignals } from './link-signals.ts';
import { listQuery } from './list-query.ts';
import { parseWatchOptions } from './parse-watch-options.ts';
import type { RollSource } from './roll-source.ts';
import type { RollcallClient, RollWatch, WatchOptions } from './rollcall-client.ts';
import { watchEvents } from './watch-events.ts';

const LIST_TIMEOUT_MS = 10_000;

export interface ClientDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  readonly signal: AbortSignal | undefined;
}

/** What list() and watch() share over whatever source: filters, deadlines, and their end. */
export function createClient(source: RollSource, deps: ClientDeps): RollcallClient {
  const { clock, random } = deps;
  const life = new AbortController();
  /** The one reason by which a watch ends without an error. */
  const closed = new RollcallError(`the client of ${source.label} is closed`);
  let closing: Promise<void> | null = null;

  const end = (reason: unknown) => {
    deps.signal?.removeEventListener('abort', onAbort);
    life.abort(reason);
    closing ??= source.close();
    return closing;
  };
  const onAbort = () => {
    end(deps.signal?.reason).catch(() => {}); // what is under way rejects by the signal; close() tells of this
  };
  if (deps.signal?.aborted) onAbort();
  else deps.signal?.addEventListener('abort', onAbort, { once: true });

  function watch(options: WatchOptions): RollWatch {
    const request = parseWatchOptions(options);
    const left = new AbortController();
    let cursor = request.since;
    async function* run() {
      const { controller, unlink } = linkSignals(left.signal, life.signal, options.signal);
      const { signal } = controller;
      const onCursor = (next: string | null) => {
        cursor = next;
      };
      try {
        const onRetry = options.onRetry ?? (() => {});
        yield* watchEvents(source, request, { clock, random, signal, onRetry, onCursor });
      } catch (error) {
        if (signal.reason !== closed) throw error;
      } finally {
        unlink();
      }
    }
    const events = run();
    return {
      get cursor() {
        return cursor;
      },
      next: () => events.next(),
      return() {
        left.abort(closed); // a `next` under way would hold up the generator's own return
        return events.return();
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  return {
    async list(options = {}) {
      const query = listQuery(options);
      const { controller, unlink } = linkSignals(life.signal, options.signal);
      try {
        const timeoutMs = options.timeoutMs ?? LIST_TIMEOUT_MS;
        return await withDeadline(clock, timeoutMs, controller.signal, `list the roll at ${source.label}`, (signal) =>
          source.list(query, signal),
        );
      } finally {
        unlink();
      }
    },
    watch: (options = {}) => watch(options),
    close: () => end(closed),
  };
}
