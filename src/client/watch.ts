import { Backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { DeadlineError } from '../lib/deadline.ts';
import { RollcallError } from '../lib/errors.ts';
import type { InstanceJson } from '../record/roll.ts';
import { FutureRevisionError } from '../registry/event-source.ts';
import { AgentError, type RollCloudEvent, type RollSource, type StreamRequest, type WatchedEvent } from './types.ts';

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;

export interface WatchDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  readonly signal: AbortSignal;
  /** What broke, before it is tried again. */
  readonly onRetry: (error: Error) => void;
  /** Everything yielded so far is handled, and one may resume after this. */
  readonly onCursor: (cursor: string | null) => void;
}

/**
 * The events of `source` without end: a stream that breaks is opened again where it was.
 * @throws the signal's reason, and what no new try can mend
 */
export async function* watchEvents(
  source: RollSource,
  request: StreamRequest,
  deps: WatchDeps,
): AsyncGenerator<WatchedEvent, void, undefined> {
  const { clock, random, signal } = deps;
  let cursor = request.since;
  /** The stream gave it, so it is not the caller's mistake when the store does not know it any more. */
  let ownCursor = false;
  let backoff = new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS);
  const move = (next: string | null) => {
    cursor = next;
    ownCursor = true;
    deps.onCursor(next);
  };

  for (;;) {
    let broken: Error = new RollcallError(`watch the roll at ${source.label}: the stream ended`);
    try {
      for await (const batch of source.stream({ ...request, since: cursor }, signal)) {
        backoff = backoff.reset();
        const last = batch.events.at(-1);
        for (const event of batch.events) {
          // In a snapshot there is nothing to go on from until it is complete: what was before it may be another store's.
          if (event.snapshot && cursor !== null) move(null);
          yield { ...event, cursor: event === last && batch.cursor !== undefined ? batch.cursor : cursor };
          signal.throwIfAborted();
        }
        if (batch.cursor !== undefined) move(batch.cursor);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Error) || !passes(error, ownCursor)) throw error;
      // The store was restored from a backup while we watched.
      if (error instanceof FutureRevisionError) move(null);
      broken = error;
    }
    deps.onRetry(broken);
    const pauseMs = broken instanceof AgentError ? broken.retryAfterMs : 0;
    await clock.sleep(pauseMs + backoff.delayMs(random()), signal);
    backoff = backoff.next();
  }
}

function passes(error: Error, ownCursor: boolean): boolean {
  if (error instanceof FutureRevisionError) return ownCursor;
  return error instanceof DeadlineError || (error instanceof RollcallError && error.retryable);
}

/**
 * Keeps a roll of one's own up to date: what `watch()` tells, applied in order, makes `instances` (by instance id) what
 * `list({ presence: 'all' })` would answer. Changes the map in place, since copying 10,000 nodes for each event would not do.
 * An event that is told again does no harm. Needs all types; a watch on one cluster also tells of nodes that move away.
 */
export function applyEvent(instances: Map<string, InstanceJson>, event: RollCloudEvent): void {
  switch (event.type) {
    case 'rollcall.instance.forgotten':
      instances.delete(event.subject);
      return;
    case 'rollcall.roll.synced': {
      // Its snapshot has told of everybody who is there. Whoever was missed before it is known by not being named.
      const there = new Set(event.data.instanceIds);
      for (const instanceId of instances.keys()) if (!there.has(instanceId)) instances.delete(instanceId);
      return;
    }
    case 'rollcall.roll.uncertain':
    case 'rollcall.roll.certain':
      return; // nobody is told as lost by these
    default:
      instances.set(event.subject, { ...event.data.record, presence: event.data.presence });
  }
}
