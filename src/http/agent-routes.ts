import type { Registry } from '../registry/registry.ts';
import type { AgentReport } from './agent-report.ts';
import type { Routes } from './reply.ts';
import { containerInstance } from './routes/container-instance.ts';
import { containerInstances } from './routes/container-instances.ts';
import { healthz } from './routes/healthz.ts';
import { indexPage } from './routes/index-page.ts';
import { metrics } from './routes/metrics.ts';
import { readyz } from './routes/readyz.ts';
import { self } from './routes/self.ts';

export interface AgentRouteDeps {
  /** Called once per request. */
  readonly report: () => AgentReport;
  readonly registry: Registry;
  /** Resident memory of the process. */
  readonly residentBytes: () => number;
}

/** Every path that an agent's HTTP port answers. */
export function agentRoutes({ report, registry, residentBytes }: AgentRouteDeps): Routes {
  const routes: Routes = {
    '/': indexPage(
      () => report().version,
      () => Object.keys(routes),
    ),
    '/healthz': healthz(report),
    '/readyz': readyz(report),
    '/v1/self': self(report),
    '/v1/containerInstances': containerInstances(registry),
    '/v1/containerInstances/:id': containerInstance(registry),
    '/metrics': metrics(report, registry, residentBytes),
  };
  return routes;
}
