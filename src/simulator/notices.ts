import * as v from 'valibot';
import { UsageError } from '../errors.ts';
import { requireObject } from './require-object.ts';

/** Highest number of maintenance events of one node. */
const MAX_EVENTS = 20;

const text = v.pipe(v.string(), v.maxLength(256));
const instant = v.pipe(v.string(), v.isoTimestamp());

// Shapes: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html#dynamic-data-categories
const noticesSchema = v.strictObject({
  spot: v.nullable(v.strictObject({ action: v.picklist(['hibernate', 'stop', 'terminate']), time: instant })),
  rebalance: v.nullable(v.strictObject({ noticeTime: instant })),
  maintenance: v.pipe(
    v.array(
      v.strictObject({
        Code: text,
        NotBefore: text,
        NotAfter: v.optional(text),
        Description: text,
        EventId: text,
        State: v.picklist(['active', 'completed', 'canceled']),
      }),
    ),
    v.maxLength(MAX_EVENTS),
  ),
  /** null: the node is in no Auto Scaling group. */
  lifecycleState: v.nullable(v.pipe(v.string(), v.regex(/^[A-Za-z]{1,32}(:[A-Za-z]{1,32})?$/))),
});

/** What EC2 has announced to a node. `null`: IMDS answers 404 for it. */
export type Notices = v.InferOutput<typeof noticesSchema>;

export const NO_NOTICES: Notices = { spot: null, rebalance: null, maintenance: [], lifecycleState: 'InService' };

const partial = v.partial(noticesSchema);
const KEYS = Object.keys(NO_NOTICES) as (keyof Notices)[];

/** Reads `{"spot":{"action":"terminate","time":"…"}}`; what it does not name stays. @throws UsageError */
export function parseNotices(value: unknown): Partial<Notices> {
  const result = v.safeParse(partial, requireObject('notices', KEYS, value), { abortEarly: true });
  if (!result.success) {
    const issue = result.issues[0];
    throw new UsageError(`notices: ${v.getDotPath(issue) ?? 'value'}: ${issue.message}`);
  }
  // An absent key and an undefined one are the same in JSON, but not when spread over the present notices.
  return Object.fromEntries(Object.entries(result.output).filter(([, one]) => one !== undefined)) as Partial<Notices>;
}
