import assert from 'node:assert/strict';
import { sharedStoreStatus } from '../../src/audit/fleet-status.ts';
import { agentRoutes } from '../../src/http/routes/agent-routes.ts';
import { startHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import type { Store } from '../../src/store/store.ts';
import { sampleReport } from './sample-report.ts';

/** The HTTP port of an agent whose roll is that of `store`, without the agent. @param port 0: any that is free */
export async function serveStore(store: Store, port = 0): Promise<{ url: string; close(): Promise<void> }> {
  const deps = { clock: systemClock, random: Math.random };
  const registry = createRegistry({ ...deps, store });
  let isClosing = false;
  const server = await startHttpServer({
    listen: { host: '127.0.0.1', port },
    routes: agentRoutes({
      ...deps,
      report: () => ({ ...sampleReport(), version: 'test' }),
      registry,
      residentBytes: () => 1,
      storeStatus: sharedStoreStatus(store, systemClock),
    }),
    clock: systemClock,
    // What the end of a test cuts short may still be a request under way.
    onError: (error) => assert.ok(isClosing, String(error)),
  });
  return {
    url: server.url,
    async close() {
      isClosing = true;
      await registry.close();
      await server.close();
    },
  };
}
