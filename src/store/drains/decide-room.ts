import type { NodeRecord } from '../../record/record.ts';
import type { Roll } from '../../record/roll.ts';
import type { DrainClaim } from '../drain-slots.ts';
import { clusterScope, mayShareScope } from './cluster-scope.ts';

/** A claim as the store has it. */
export interface StoredClaim {
  readonly instanceId: string;
  /** null: there is one, and it cannot be read. */
  readonly claim: DrainClaim | null;
}

export interface Room {
  readonly free: boolean;
  readonly taken: number;
  readonly slots: number;
  /** One line for a person. */
  readonly reason: string;
}

/**
 * Whether one more node of the cluster may drain; pure. In doubt a claim counts: too few drain rather than too many.
 * @param place of who asks @param claims of all clusters, without the one who asks @param maxSharePercent 0 to 100
 */
export function decideRoom(
  { cluster, arn }: Pick<DrainClaim, 'cluster' | 'arn'>,
  claims: readonly StoredClaim[],
  roll: Roll,
  maxSharePercent: number,
): Room {
  const scope = clusterScope(arn);
  const isNear = (arn: string | null | undefined) => mayShareScope(scope, clusterScope(arn));
  const records = new Map(roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]));
  const present = roll.entries.filter(
    ({ record, presence }) => presence && record.cluster === cluster && isNear(record.containerInstanceArn),
  ).length;
  // So that 30 % of 10 are 3 whatever floating point makes of it.
  const slots = Math.max(1, Math.floor((maxSharePercent * present) / 100 + 1e-9));
  const holders = claims.filter(({ instanceId, claim }) => {
    if (claim?.phase === 'overruled') return false;
    const entry = records.get(instanceId);
    if (!isNear(claim?.arn ?? entry?.record.containerInstanceArn)) return false;
    // A record that cannot be read may be its own; a claim that cannot be read is of its node's cluster.
    if (!entry) return roll.skipped.length > 0 && (claim === null || claim.cluster === cluster);
    if ((claim?.cluster ?? entry.record.cluster) !== cluster) return false;
    return entry.presence !== null || !goneForGood(entry.record);
  });
  const taken = holders.length;
  const names = holders.slice(0, 3).map(({ instanceId }) => instanceId);
  const more = taken > names.length ? ` and ${taken - names.length} more` : '';
  const reason = `${taken} of ${slots} drain slots of ${cluster} are taken${taken > 0 ? `: ${names.join(', ')}${more}` : ''}`;
  return { free: taken < slots, taken, slots, reason };
}

/**
 * Of a node that is not present: the instance was about to be terminated when its agent left, or, of the spot market,
 * whose two minutes nobody takes back, when it was lost. One that was merely stopped, or whose agent was, may come back
 * as the container instance that it is, still drained.
 */
export function goneForGood({ departure, interruption }: NodeRecord): boolean {
  const cause = departure?.cause ?? (interruption?.kind === 'spot-interruption' ? interruption.kind : null);
  return (cause === 'spot-interruption' || cause === 'asg-termination') && interruption?.action === 'terminate';
}
