import { createAuditLog } from '../audit/standing/audit-log.ts';
import { type Auditor, createAuditor } from '../audit/standing/create-auditor.ts';
import { fleetAudit } from '../audit/standing/fleet-audit.ts';
import type { AuditorOptions } from '../audit/standing/run-auditor.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { AuditConfig } from '../config/audit-options.ts';
import type { LoopMonitor } from '../lifecycle/loop-monitor.ts';
import type { Desired } from '../publisher/publisher-state.ts';
import type { AgentDependencies } from './agent-dependencies.ts';

/** This agent's part in the audit of the fleet. */
export function standingAudit(
  { intervalMs, clusters }: AuditConfig,
  { presenceTtlMs, ecs }: AgentConfig,
  deps: AgentDependencies,
  monitor: LoopMonitor,
  desired: () => Desired | null,
): Auditor {
  const { store, clock, random, session, leaving } = deps;
  // One that broke is told of where its results are: by a failing liveness the whole agent would be restarted for it.
  const auditStep = monitor.track('audit', presenceTtlMs + 30_000, () => auditor.status().broken === null);
  const auditLog = createAuditLog(deps.log);
  const options: AuditorOptions = {
    offices: store.offices,
    audit:
      deps.audit ??
      fleetAudit(
        { store, clock, openEcs: (requestsPerSecond) => deps.openEcs({ ...ecs, requestsPerSecond }) },
        clusters,
      ),
    clock,
    random,
    session,
    instanceId: () => desired()?.record.ec2InstanceId ?? null,
    ttlMs: presenceTtlMs,
    intervalMs,
    leaving,
    onStep(step, state) {
      auditStep();
      auditLog(step, state);
    },
  };
  const auditor = createAuditor(options, (reason) => deps.log.error(`standing audit: ${reason}`));
  return auditor;
}
