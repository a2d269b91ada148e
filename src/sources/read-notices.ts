import type { Interruption } from '../record/record.ts';
import { attempt } from './attempt.ts';
import type { ImdsClient } from './imds-client.ts';
import { INTERRUPTION_KINDS, type InterruptionKind, type Notices } from './notices.ts';
import { parseLifecycleNotice } from './parse-lifecycle-notice.ts';
import { parseMaintenanceNotice } from './parse-maintenance-notice.ts';
import { parseRebalanceNotice } from './parse-rebalance-notice.ts';
import { parseSpotNotice } from './parse-spot-notice.ts';

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
