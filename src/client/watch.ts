import { Backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { DeadlineError } from '../lib/deadline.ts';
import { RollcallError } from '../lib/errors.ts';
import type { InstanceJson, SkippedKey } from '../record/roll.ts';
import { FutureRevisionError } from '../registry/event-source.ts';
import { AgentError, type RollCloudEvent, type RollSource, type StreamRequest, type WatchedEvent } from './types.ts';

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;

interface WatchDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  readonly signal: AbortSignal;
  /** Called with the error before each retry. */
  readonly onRetry: (error: Error) => void;
  readonly onSkipped: (skipped: SkippedKey) => void;
  /** Called each time the source answers, before its first event. */
  readonly onOpen: () => void;
  /** Called with the new cursor after all yielded events are handled. */
  readonly onCursor: (cursor: string | null) => void;
}

/**
 * Endless events of `source`. After a broken stream, a new one continues after the cursor.
 * @throws the signal's reason, or an error that a retry cannot fix
 */
export async function* watchEvents(
  source: RollSource,
  request: StreamRequest,
  deps: WatchDeps,
): AsyncGenerator<WatchedEvent, void, undefined> {
  const { clock, random, signal } = deps;
  let cursor = request.since;
  /** True if a stream took or gave the cursor, so that a `FutureRevisionError` is not the caller's mistake. */
  let ownCursor = false;
  let backoff = new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS);
  const move = (next: string | null) => {
    cursor = next;
    deps.onCursor(next);
  };

  for (;;) {
    let broken: Error = new RollcallError(`watch the roll at ${source.label}: the stream ended`);
    let openedAtMs: number | null = null;
    try {
      /**
       * This stream has had a cursor. From then on there is none until a snapshot is complete, because that may be of another
       * store. A snapshot at the start keeps the old one: without it the next stream cannot tell a mass loss.
       */
      let settled = false;
      for await (const batch of source.stream({ ...request, since: cursor }, signal)) {
        if (openedAtMs === null) deps.onOpen();
        openedAtMs ??= clock.monotonicMs();
        if (batch.events.length > 0 || batch.skipped || batch.cursor !== undefined) backoff = backoff.reset();
        if (batch.skipped) deps.onSkipped(batch.skipped);
        const last = batch.events.at(-1);
        const next: string | null | undefined = settled ? batch.cursor : (batch.cursor ?? undefined);
        ownCursor = true;
        for (const event of batch.events) {
          if (event.snapshot && cursor !== null && settled) move(null);
          yield { ...event, cursor: event === last && next !== undefined ? next : cursor };
          signal.throwIfAborted();
        }
        if (next === undefined) continue;
        settled ||= next !== null;
        move(next);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Error) || !isRetryable(error, ownCursor)) throw error;
      // The store was restored from a backup during the watch.
      if (error instanceof FutureRevisionError) move(null);
      broken = error;
    }
    deps.onRetry(broken);
    // Not as soon as it was open: a source that always ends its streams at once must not be asked twice a second.
    if (openedAtMs !== null && clock.monotonicMs() - openedAtMs >= MAX_RETRY_MS) backoff = backoff.reset();
    const pauseMs = broken instanceof AgentError ? broken.retryAfterMs : 0;
    await clock.sleep(pauseMs + backoff.delayMs(random()), signal);
    backoff = backoff.next();
  }
}

function isRetryable(error: Error, ownCursor: boolean): boolean {
  if (error instanceof FutureRevisionError) return ownCursor;
  return error instanceof DeadlineError || (error instanceof RollcallError && error.retryable);
}

/**
 * Applies an event of `watch()` to `instances` (by instance id), so that the map equals `list({ presence: 'all' })`. Changes
 * the map in place, because a copy of 10,000 nodes per event would be too slow. A repeated event does no harm. The watch must
 * have all types. A watch on one cluster also has events of nodes that leave the cluster.
 */
export function applyEvent(instances: Map<string, InstanceJson>, event: RollCloudEvent): void {
  switch (event.type) {
    case 'rollcall.instance.forgotten':
      instances.delete(event.subject);
      return;
    case 'rollcall.roll.synced': {
      // The snapshot before it had all current nodes. A node that is not named here is gone.
      const there = new Set(event.data.instanceIds);
      for (const instanceId of instances.keys()) if (!there.has(instanceId)) instances.delete(instanceId);
      return;
    }
    case 'rollcall.roll.uncertain':
    case 'rollcall.roll.certain':
    case 'rollcall.audit.difference':
    case 'rollcall.audit.resolved':
      return; // these do not change a node
    default:
      instances.set(event.subject, { ...event.data.record, presence: event.data.presence });
  }
}
