import type { NodeRecord } from './record.ts';

/**
 * Instants in a record are by the node's own clock. An agent compares that clock with EC2's, by the `Date` of the metadata
 * service's answers, and publishes the difference, so that readers need not compare two clocks that nothing ties together.
 */

/** A difference below this is none: the store, the network and a whole second in `Date` take their part of it. */
const LIMIT_MS = 60_000;
/** How far a difference may move before it is published anew, so that one at a limit does not write each minute. */
const SLACK_MS = 45_000;

/**
 * The difference to publish, in whole minutes as seconds; positive: the node's clock is ahead.
 * @param before what was published; null: nothing @param skewMs as measured now; null: not measured
 */
export function publishedSkew(before: number | null, skewMs: number | null): number | null {
  if (skewMs === null) return before;
  if (before !== null && before !== 0 && Math.abs(skewMs - before * 1_000) <= SLACK_MS) return before;
  return Math.abs(skewMs) < LIMIT_MS ? 0 : Math.round(skewMs / 60_000) * 60;
}

type OwnClock = Pick<NodeRecord, 'ec2InstanceId' | 'clockSkewSeconds'>;

/** The range of a `Date`: https://tc39.es/ecma262/#sec-time-values-and-time-range */
const MAX_DATE_MS = 8.64e15;

/** An instant of the record on EC2's clock, in ms since the epoch; null: not known, no instant, or one that no `Date` holds. */
export function onEc2ClockMs({ clockSkewSeconds }: Pick<OwnClock, 'clockSkewSeconds'>, instant: string) {
  if (clockSkewSeconds === null) return null;
  const sharedMs = Date.parse(instant) - clockSkewSeconds * 1_000;
  return Math.abs(sharedMs) <= MAX_DATE_MS ? sharedMs : null;
}

/** The same as RFC 3339. */
export function onEc2Clock(record: Pick<OwnClock, 'clockSkewSeconds'>, instant: string): string | null {
  const ms = onEc2ClockMs(record, instant);
  return ms === null ? null : new Date(ms).toISOString();
}

/** The same for an age: an instant by the node's own clock where the difference is not known. */
export function forAge(record: Pick<OwnClock, 'clockSkewSeconds'>, instant: string): string {
  return (record.clockSkewSeconds && onEc2Clock(record, instant)) || instant;
}

/** `the clock of i-… is 60 min behind EC2's`; null: it is not, or that is not known. */
export function describeSkew({ ec2InstanceId, clockSkewSeconds }: OwnClock): string | null {
  if (clockSkewSeconds === null || clockSkewSeconds === 0) return null;
  const minutes = Math.round(Math.abs(clockSkewSeconds) / 60);
  return `the clock of ${ec2InstanceId} is ${minutes} min ${clockSkewSeconds > 0 ? 'ahead of' : 'behind'} EC2's`;
}
