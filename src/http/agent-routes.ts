import type { Auditor } from '../audit/standing/create-auditor.ts';
import type { Registry } from '../registry/registry.ts';
import type { Clock } from '../timing/clock.ts';
import type { AgentReport } from './agent-report.ts';
import type { Routes } from './reply.ts';
import { audit } from './routes/audit.ts';
import { containerInstance } from './routes/container-instance.ts';
import { containerInstances } from './routes/container-instances.ts';
import { events } from './routes/events.ts';
import { healthz } from './routes/healthz.ts';
import { indexPage } from './routes/index-page.ts';
import { metrics } from './routes/metrics.ts';
import { readyz } from './routes/readyz.ts';
import { self } from './routes/self.ts';
import { targets } from './routes/targets.ts';

export interface AgentRouteDeps {
  /** Called once per request. */
  readonly report: () => AgentReport;
  readonly registry: Registry;
  /** Resident memory of the process. */
  readonly residentBytes: () => number;
  readonly clock: Pick<Clock, 'wallMs'>;
  readonly random: () => number;
  /** Default: this agent takes no part in the standing audit. */
  readonly auditor?: Pick<Auditor, 'status' | 'read'> | null;
}

/** Every path that an agent's HTTP port answers. */
export function agentRoutes(deps: AgentRouteDeps): Routes {
  const { report, registry, residentBytes, clock, random, auditor = null } = deps;
  const routes: Routes = {
    '/': indexPage(
      () => report().version,
      () => Object.keys(routes),
    ),
    '/healthz': healthz(report),
    '/readyz': readyz(report),
    '/v1/self': self(report, registry),
    '/v1/containerInstances': containerInstances(registry),
    '/v1/containerInstances/:id': containerInstance(registry),
    '/v1/events': events({ feed: registry, clock, random }),
    '/v1/targets': targets(registry),
    '/v1/audit': audit(auditor),
    '/metrics': metrics(report, registry, residentBytes, auditor),
  };
  return routes;
}
