import { afterFailure, type CallEnd, type Trouble, withoutError } from '../../lib/control-loop.ts';

/** What spaces an agent's calls; part of the publisher's state. */
interface Paced {
  readonly trouble: Trouble;
  readonly ttlMs: number;
}

/**
 * The state after a call that failed: the next one waits, longer with each failure, and for a random part of it, so that a
 * fleet whose store is slow does not ask it more for that.
 * @param leaseMayBeLeft the presence lease may still live: then a heartbeat that comes too late would be a false death.
 * Where it is gone nothing is lost by waiting; but a store that comes back starts its leases again, and a heartbeat
 * within a TTL of that saves a registration.
 */
export function pausedAfter<State extends Paced>(
  state: State,
  action: State['trouble']['action'] & string,
  error: unknown,
  end: CallEnd,
  leaseMayBeLeft: boolean,
): State {
  const { trouble, ttlMs } = state;
  const isUrgent = action === 'depart' || (action === 'renew' && leaseMayBeLeft);
  const isOfHeldNode = action === 'update' || action === 'renew-retention';
  // A registration without an answer may have its presence lease, which must live until it is asked for again.
  const maxMs = isUrgent ? ttlMs / 6 : isOfHeldNode ? ttlMs : ttlMs / 2;
  const backoff = trouble.backoff.upTo(maxMs);
  return { ...state, trouble: afterFailure({ ...trouble, backoff }, action, error, end) };
}

/**
 * The state after a call that was answered. It takes back one failure and not all of them: an agent whose calls fail
 * every other time earns its retries, and does not double what it asks. A heartbeat that is answered says nothing of a
 * write that was refused, since a full or read-only store still takes heartbeats.
 */
export function afterAnswer<State extends Paced>(state: State, action: State['trouble']['action']): State {
  const { trouble } = state;
  if (trouble.error !== null && trouble.action !== action) return state;
  return { ...state, trouble: { ...withoutError(trouble), backoff: trouble.backoff.previous() } };
}

/** What one etcd on a small machine takes beside its other work, each registration two writes. */
const MS_PER_RETURN = 3;
const MAX_SPREAD_MS = 30_000;

/**
 * Over how long a fleet that lost its registrations in an outage comes back. Few nodes come back at once.
 * @param otherNodes about how many there are besides this one
 */
export function returnSpreadMs(otherNodes: number, ttlMs: number): number {
  return Math.min(otherNodes * MS_PER_RETURN, ttlMs, MAX_SPREAD_MS);
}
