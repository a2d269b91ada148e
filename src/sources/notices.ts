import { quote } from '../lib/errors.ts';
import { DECIDING_NOTICES } from '../record/health-facts.ts';
import { INTERRUPTION_KINDS, type Interruption, type InterruptionKind } from '../record/record.ts';
import type { ImdsClient } from './imds.ts';
import { attempt, parseObject, SourceError } from './source-error.ts';

/** The current notice of each kind; null: none. */
export type Notices = Readonly<Record<InterruptionKind, Interruption | null>>;

export const NO_NOTICES: Notices = {
  'spot-interruption': null,
  'asg-termination': null,
  maintenance: null,
  'rebalance-recommendation': null,
};

/** The notice that goes into the record; null: none. */
export function mostUrgent(notices: Partial<Notices>): Interruption | null {
  for (const kind of INTERRUPTION_KINDS) if (notices[kind]) return notices[kind];
  return null;
}

/**
 * Target states in which the instance stops running, with the action. The other target states are `InService`,
 * `Standby`, `Detached` and `Warmed:Running`: https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html
 */
const ACTIONS: readonly (readonly [RegExp, string])[] = [
  // Only final states are documented as targets; the transitional ones mean the same.
  [/^(Warmed:)?Terminat(ed|ing(:(Wait|Proceed))?)$/, 'terminate'],
  [/^Warmed:Stopped$/, 'stop'],
  [/^Warmed:Hibernated$/, 'hibernate'],
];

/**
 * The notice in an Auto Scaling target lifecycle state; null for a state in which the instance keeps running, and for an
 * unknown state. The state has no time.
 * @throws SourceError if the text is not a lifecycle state
 */
export function parseLifecycleNotice(text: string): Interruption | null {
  const state = text.trim();
  if (!/^[A-Za-z]{1,32}(:[A-Za-z]{1,32}){0,2}$/.test(state)) {
    throw new SourceError(`IMDS autoscaling/target-lifecycle-state: expected a lifecycle state, got ${quote(text)}`);
  }
  const action = ACTIONS.find(([pattern]) => pattern.test(state))?.[1];
  return action === undefined ? null : { kind: 'asg-termination', action, time: null };
}

/** `2027-01-21T09:00:43Z`, in spot and rebalance notices. */
const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;
/** `21 Jan 2027 09:00:43 GMT`, in maintenance events. */
const RFC_1123 = /^\d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** Converts an instant in either of EC2's forms to RFC 3339 in UTC; null for other text, also without a time zone. */
export function parseInstant(text: string): string | null {
  if (!RFC_3339.test(text) && !RFC_1123.test(text)) return null;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : new Date(ms).toISOString();
}

const ACTION = 'IMDS events/maintenance/scheduled';

/** Finished events stay in the list for days. AWS writes `canceled`; `cancelled` is accepted too. */
const OVER = new Set(['completed', 'canceled', 'cancelled']);

/** Some events of the list cannot be read, and may be what takes the node away. */
class UnreadableEventError extends SourceError {
  override readonly name = 'UnreadableEventError';
  /** The next of the events that can be read; null: none of them is ahead. */
  readonly next: Interruption | null;
  constructor(message: string, next: Interruption | null) {
    super(message);
    this.next = next;
  }
}

/**
 * The next scheduled event, with its code (`instance-reboot`, `system-reboot`, `system-maintenance`,
 * `instance-retirement`, `instance-stop`) as the action; null if no event is scheduled or in progress:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_scheduled_events.html
 * An unreadable date becomes null, because the event matters without it.
 * @throws SourceError if the text is not a list of events @throws UnreadableEventError
 */
export function parseMaintenanceNotice(text: string): Interruption | null {
  const events = parseList(text).filter((event) => !isOver(event));
  const read = events.map(parseMaintenanceEvent);
  const ahead = read.filter((event) => event !== null);
  // Also by code, so that the order of the list cannot change the record. An unknown date comes last.
  const [next = null] = ahead.sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
  const odd = read.indexOf(null);
  if (odd === -1) return next;
  throw new UnreadableEventError(`${ACTION}: Code: expected an event's code, got ${quote(events[odd])}`, next);
}

function isOver(event: unknown): boolean {
  const { State: state } = Object(event) as Record<string, unknown>;
  return typeof state === 'string' && OVER.has(state.toLowerCase());
}

function sortKey({ time, action }: Interruption): string {
  return `${time ?? '~'} ${action}`;
}

function parseList(text: string): readonly unknown[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SourceError(`${ACTION}: expected a list of events, got ${quote(text)}`, { cause });
  }
  if (!Array.isArray(value)) throw new SourceError(`${ACTION}: expected a list of events, got ${quote(text)}`);
  return value;
}

/** Null for an event without a code of EC2's kind. */
function parseMaintenanceEvent(event: unknown): Interruption | null {
  const { Code: code, NotBefore: notBefore } = Object(event) as Record<string, unknown>;
  if (typeof code !== 'string' || !/^[a-z]+(-[a-z]+)*$/.test(code) || code.length > 64) return null;
  return { kind: 'maintenance', action: code, time: typeof notBefore === 'string' ? parseInstant(notBefore) : null };
}

/**
 * `{"noticeTime":"…"}`: since that time the spot instance has a higher risk of interruption:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
 * @throws SourceError for any other text
 */
export function parseRebalanceNotice(text: string): Interruption {
  const { noticeTime } = parseObject('IMDS events/recommendations/rebalance', text);
  if (typeof noticeTime !== 'string') {
    throw new SourceError(`IMDS events/recommendations/rebalance: noticeTime: expected an instant, got ${quote(text)}`);
  }
  return { kind: 'rebalance-recommendation', action: null, time: parseInstant(noticeTime) };
}

/**
 * `{"action":"terminate","time":"…"}`, two minutes before the action; also `stop` and `hibernate`:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
 * An unreadable time becomes null, because the notice matters without it.
 * @throws SourceError for any other text
 */
export function parseSpotNotice(text: string): Interruption {
  const { action, time } = parseObject('IMDS spot/instance-action', text);
  if (typeof action !== 'string' || !/^[a-z]{1,32}$/.test(action)) {
    throw new SourceError(`IMDS spot/instance-action: action: expected an action, got ${quote(text)}`);
  }
  return { kind: 'spot-interruption', action, time: typeof time === 'string' ? parseInstant(time) : null };
}

/** Together with a token request, a poll still ends within the second that is promised after it. */
const LEAF_TIMEOUT_MS = 700;

/** Paths: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html */
const LEAVES: Readonly<
  Record<InterruptionKind, readonly [path: string, parse: (text: string) => Interruption | null]>
> = {
  'spot-interruption': ['meta-data/spot/instance-action', parseSpotNotice],
  'asg-termination': ['meta-data/autoscaling/target-lifecycle-state', parseLifecycleNotice],
  maintenance: ['meta-data/events/maintenance/scheduled', parseMaintenanceNotice],
  'rebalance-recommendation': ['meta-data/events/recommendations/rebalance', parseRebalanceNotice],
};

/** One read of all notices. A kind that could not be read is absent. */
interface NoticesRead {
  readonly notices: Partial<Notices>;
  /** Why kinds that decide the node's health could not be read: one line each, sorted. */
  readonly failures: readonly string[];
  /** The same for the other kinds. */
  readonly notes: readonly string[];
}

/** Reads all notices in parallel and independently. 404 is the usual answer: no notice. Rejects only with the signal's reason. */
export async function readNotices(imds: ImdsClient, signal: AbortSignal): Promise<NoticesRead> {
  const notices: Partial<Record<InterruptionKind, Interruption | null>> = {};
  // A set, because an unavailable service gives the same message for all four kinds.
  const failures = new Set<string>();
  const notes = new Set<string>();
  await Promise.all(
    INTERRUPTION_KINDS.map(async (kind) => {
      const [path, parse] = LEAVES[kind];
      const leaf = await attempt(async () => {
        const text = await imds.get(path, signal, LEAF_TIMEOUT_MS);
        return text === null ? null : parse(text);
      });
      if ('error' in leaf) {
        (DECIDING_NOTICES[kind] === undefined ? notes : failures).add(leaf.error.message);
        if (leaf.error instanceof UnreadableEventError && leaf.error.next) notices[kind] = leaf.error.next;
      } else {
        notices[kind] = leaf.value;
      }
    }),
  );
  return { notices, failures: [...failures].sort(), notes: [...notes].filter((line) => !failures.has(line)).sort() };
}
