import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { sharedStoreStatus } from '../../../src/audit/fleet-status.ts';
import type { AgentReport } from '../../../src/http/agent-report.ts';
import { agentRoutes } from '../../../src/http/routes/agent-routes.ts';
import { startHttpServer } from '../../../src/http/server.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { boundedRequest, openHttpPool } from '../../../src/lib/http-client.ts';
import type { RollEntry } from '../../../src/record/roll.ts';
import {
  createRegistry,
  type Registry,
  type RegistryRead,
  type RegistryStatus,
} from '../../../src/registry/registry.ts';
import { fakeStore } from '../../support/fake-store.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { sampleReport } from '../../support/sample-report.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

export const UNCERTAINTY = {
  vanished: 40,
  nodes: 100,
  limitShare: 0.3,
  limitCount: 5,
  since: '2026-01-01T00:00:00.000Z',
  until: '2026-01-01T00:00:30.000Z',
};
const PRESENCE = { session: 'session-a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };

export function node(n: number, overrides = {}, presence: RollEntry['presence'] = PRESENCE): RollEntry {
  return { record: sampleRecord({ ec2InstanceId: sampleInstanceId(n), ...overrides }), presence };
}

/** All routes of an agent over a store that the test owns. */
export async function startAgentRoutes(t: TestContext) {
  const store = fakeStore();
  const clock = simulatedClock();
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  // Values that a registry has only during a mass loss; other tests create one.
  const trouble: { read: Partial<RegistryRead>; status: Partial<RegistryStatus> } = { read: {}, status: {} };
  const troubled: Registry = {
    ...registry,
    read: async (signal) => ({ ...(await registry.read(signal)), ...trouble.read }),
    status: () => ({ ...registry.status(), ...trouble.status }),
  };
  const agent: { report: AgentReport } = { report: sampleReport() };
  const errors: unknown[] = [];
  const server = await startHttpServer({
    listen: { host: '127.0.0.1', port: 0 },
    routes: agentRoutes({
      report: () => agent.report,
      registry: troubled,
      residentBytes: () => 12_345_678,
      clock,
      random: () => 0.5,
      storeStatus: sharedStoreStatus(store, clock),
    }),
    clock: systemClock,
    onError: (error) => errors.push(error),
  });
  const pool = openHttpPool(server.url, { connections: 4 });
  t.after(async () => {
    await pool.destroy();
    await server.close();
    await registry.close();
    assert.deepEqual(errors, []);
  });
  const { signal } = new AbortController();
  const text = (path: string, headers = {}) =>
    boundedRequest(pool, { method: 'GET', path, headers, maxBytes: 50_000_000, signal });
  const json = async (path: string, headers = {}) => {
    const answer = await text(path, headers);
    return { status: answer.status, headers: answer.headers, body: JSON.parse(answer.text) };
  };
  return { store, clock, agent, trouble, text, json, url: server.url };
}
