import type { CloudBatch, RollSource, StreamRequest } from '../../src/client/types.ts';

/** One connection: batches, then an error or an end. With `hold` it waits for the signal instead. */
export interface Connection {
  readonly batches?: readonly CloudBatch[];
  readonly error?: Error;
  readonly hold?: boolean;
}

export interface ScriptedSource extends RollSource {
  /** The `since` of each stream. */
  readonly asked: (string | null)[];
  /** Number of open streams. */
  open(): number;
}

/** A source with scripted connections. After the last one it waits for the signal. */
export function scriptedSource(connections: readonly Connection[]): ScriptedSource {
  const asked: (string | null)[] = [];
  let open = 0;
  return {
    label: 'script:',
    asked,
    open: () => open,
    list: () => Promise.reject(new Error('the script is of events')),
    async *stream(request: StreamRequest, signal: AbortSignal) {
      const { batches = [], error, hold = false } = connections[asked.length] ?? { hold: true };
      asked.push(request.since);
      open += 1;
      try {
        yield* batches;
        if (error) throw error;
        if (hold) {
          await new Promise((_, reject) => {
            if (signal.aborted) reject(signal.reason);
            signal.addEventListener('abort', () => reject(signal.reason), { once: true });
          });
        }
      } finally {
        open -= 1;
      }
    },
    close: async () => {},
  };
}
