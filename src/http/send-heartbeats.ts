import type { ServerResponse } from 'node:http';
import type { Clock } from '../timing/clock.ts';

/**
 * Keeps a stream from looking idle, to us and to every proxy on the way, until it ends. A client that does not read
 * gets none: they would pile up, and it is to be taken for idle.
 * @param signal aborts when the response is closed, or to be
 */
export async function sendHeartbeats(
  res: ServerResponse,
  heartbeat: () => string,
  everyMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await clock.sleep(everyMs, signal).catch(() => {}); // aborted: seen in the next line
    if (signal.aborted || res.writableEnded) return;
    // Anything above zero is what the system has not taken yet.
    if (res.writableLength === 0) res.write(heartbeat());
  }
}
