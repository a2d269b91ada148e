import type { AuditConfig } from '../../config/audit-options.ts';
import type { EcsApi } from '../../ecs/ecs-api.ts';
import { paceEcsApi } from '../../ecs/pace-ecs-api.ts';
import { RollcallError } from '../../errors.ts';
import { presenceState, type Roll } from '../../record/roll.ts';
import type { Store } from '../../store/store.ts';
import type { Clock } from '../../timing/clock.ts';
import type { Audit } from './run-auditor.ts';

export interface FleetAuditDeps {
  readonly store: Pick<Store, 'read' | 'readOne'>;
  readonly clock: Clock;
  readonly openEcs: () => Promise<EcsApi>;
}

/** A tenth of what ECS lets an account read in a region: others have to live there, too. */
const REQUESTS_PER_SECOND = 2;

/** The audit of the whole fleet. ECS's API is opened by the first run and kept until this agent leads no more. */
export function fleetAudit({ store, clock, openEcs }: FleetAuditDeps, clusters: AuditConfig['clusters']): Audit {
  let opened: Promise<EcsApi> | null = null;

  const ecsApi = (): Promise<EcsApi> => {
    const opening = opened ?? openEcs().then((api) => paceEcsApi(api, clock, REQUESTS_PER_SECOND));
    opened = opening;
    return opening.catch((error: unknown) => {
      if (opened === opening) opened = null;
      throw error;
    });
  };

  return {
    run: async (memory, signal) => {
      const { runAudit } = await import('../run-audit.ts');
      const ecs = await ecsApi();
      const named = clusters === 'roll' ? clustersOnRoll(await store.read(signal)) : clusters;
      return runAudit({ store, ecs, clock }, { clusters: named === 'all' ? null : named, memory }, signal);
    },
    rest: () => {
      opened?.then((api) => api.close()).catch(() => {});
      opened = null;
    },
  };
}

/**
 * The clusters of nodes that are present or lost. A cluster that all nodes have left in good order may be gone itself.
 * @throws RollcallError where there is none
 */
export function clustersOnRoll({ entries }: Roll): readonly string[] {
  const there = entries.filter((entry) => presenceState(entry) !== 'departed');
  const names = new Set(there.map(({ record }) => record.cluster).filter((name) => name !== null));
  if (names.size === 0)
    throw new RollcallError('audit: no node on the roll is in an ECS cluster; see --audit-clusters');
  return [...names].sort();
}
