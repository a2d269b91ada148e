import type { Interruption } from '../record/record.ts';
import type { ImdsClient } from './imds.ts';
import { attempt, parseObject, quote, SourceError } from './source-error.ts';

/** What EC2 can announce to a node, the most urgent first: the order decides which one the record tells. */
export const INTERRUPTION_KINDS = [
  'spot-interruption',
  'asg-termination',
  'maintenance',
  'rebalance-recommendation',
] as const;
export type InterruptionKind = (typeof INTERRUPTION_KINDS)[number];

/** The newest known notice of each kind; null: there is none. */
export type Notices = Readonly<Record<InterruptionKind, Interruption | null>>;

export const NO_NOTICES: Notices = {
  'spot-interruption': null,
  'asg-termination': null,
  maintenance: null,
  'rebalance-recommendation': null,
};

/** The one a record has room for. */
export function mostUrgent(notices: Notices): Interruption | null {
  for (const kind of INTERRUPTION_KINDS) if (notices[kind]) return notices[kind];
  return null;
}

/**
 * Target states in which the instance does not go on running, and what becomes of it. The others are `InService`,
 * `Standby`, `Detached` and `Warmed:Running`: https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html
 */
const ACTIONS: readonly (readonly [RegExp, string])[] = [
  // Only steady states are documented as targets; those on the way there mean the same.
  [/^(Warmed:)?Terminat(ed|ing(:(Wait|Proceed))?)$/, 'terminate'],
  [/^Warmed:Stopped$/, 'stop'],
  [/^Warmed:Hibernated$/, 'hibernate'],
];

/**
 * What the Auto Scaling group is about to do with the instance; null while it lets it run. It names no time.
 * @throws SourceError when it is no lifecycle state; one that is merely unknown lets the instance run
 */
export function parseLifecycleNotice(text: string): Interruption | null {
  const state = text.trim();
  if (!/^[A-Za-z]{1,32}(:[A-Za-z]{1,32}){0,2}$/.test(state)) {
    throw new SourceError(`IMDS autoscaling/target-lifecycle-state: expected a lifecycle state, got ${quote(text)}`);
  }
  const action = ACTIONS.find(([pattern]) => pattern.test(state))?.[1];
  return action === undefined ? null : { kind: 'asg-termination', action, time: null };
}

/** `2027-01-21T09:00:43Z`, as spot and rebalance notices write it. */
const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;
/** `21 Jan 2027 09:00:43 GMT`, as maintenance events write it. */
const RFC_1123 = /^\d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** An instant in either of EC2's forms as RFC 3339 in UTC; null for anything else, one without a time zone included. */
export function parseInstant(text: string): string | null {
  if (!RFC_3339.test(text) && !RFC_1123.test(text)) return null;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : new Date(ms).toISOString();
}

const ACTION = 'IMDS events/maintenance/scheduled';

/** Events that are over stay listed for days; AWS writes `canceled`. */
const OVER = new Set(['completed', 'canceled', 'cancelled']);

/**
 * The next of the scheduled events, with its code (`instance-reboot`, `system-reboot`, `system-maintenance`,
 * `instance-retirement`, `instance-stop`) as the action; null when none lies ahead or is under way:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_scheduled_events.html
 * @throws SourceError when it is no list of events; a date that cannot be read is unknown, for the event stands without it
 */
export function parseMaintenanceNotice(text: string): Interruption | null {
  const ahead = parseList(text)
    .map((event) => parseEvent(event, text))
    .filter((event) => event !== null);
  // By the code too, so that the list's order cannot change the record; an unknown date comes last.
  const [next] = ahead.sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
  return next ?? null;
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

function parseEvent(event: unknown, text: string): Interruption | null {
  const { Code: code, NotBefore: notBefore, State: state } = Object(event) as Record<string, unknown>;
  if (typeof code !== 'string' || !/^[a-z]+(-[a-z]+)*$/.test(code) || code.length > 64) {
    throw new SourceError(`${ACTION}: Code: expected an event's code, got ${quote(text)}`);
  }
  if (typeof state === 'string' && OVER.has(state.toLowerCase())) return null;
  return { kind: 'maintenance', action: code, time: typeof notBefore === 'string' ? parseInstant(notBefore) : null };
}

/**
 * `{"noticeTime":"…"}`: the spot instance is at a higher risk of an interruption since then:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
 * @throws SourceError when it is not that
 */
export function parseRebalanceNotice(text: string): Interruption {
  const { noticeTime } = parseObject('IMDS events/recommendations/rebalance', text);
  if (typeof noticeTime !== 'string') {
    throw new SourceError(`IMDS events/recommendations/rebalance: noticeTime: expected an instant, got ${quote(text)}`);
  }
  return { kind: 'rebalance-recommendation', action: null, time: parseInstant(noticeTime) };
}

/**
 * `{"action":"terminate","time":"…"}`, two minutes ahead; `stop` and `hibernate` too:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
 * @throws SourceError when it is not that; a time that cannot be read is unknown, for the notice stands without it
 */
export function parseSpotNotice(text: string): Interruption {
  const { action, time } = parseObject('IMDS spot/instance-action', text);
  if (typeof action !== 'string' || !/^[a-z]{1,32}$/.test(action)) {
    throw new SourceError(`IMDS spot/instance-action: action: expected an action, got ${quote(text)}`);
  }
  return { kind: 'spot-interruption', action, time: typeof time === 'string' ? parseInstant(time) : null };
}

/** With the token that one may have to wait for, a poll ends well within the second promised after it. */
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

/** One pass over the notices. A kind that could not be read is absent, and why is among the failures. */
export interface NoticesRead {
  readonly notices: Partial<Notices>;
  /** One line each, sorted; empty when all was read. */
  readonly failures: readonly string[];
}

/** Reads all notices in parallel, each failing for itself. 404 is the usual answer: no notice. Rejects only with the signal's reason. */
export async function readNotices(imds: ImdsClient, signal: AbortSignal): Promise<NoticesRead> {
  const notices: Partial<Record<InterruptionKind, Interruption | null>> = {};
  // A service that is not there fails all four in the same words; once is enough.
  const failures = new Set<string>();
  await Promise.all(
    INTERRUPTION_KINDS.map(async (kind) => {
      const [path, parse] = LEAVES[kind];
      const leaf = await attempt(async () => {
        const text = await imds.get(path, signal, LEAF_TIMEOUT_MS);
        return text === null ? null : parse(text);
      });
      if ('error' in leaf) failures.add(leaf.error.message);
      else notices[kind] = leaf.value;
    }),
  );
  return { notices, failures: [...failures].sort() };
}
