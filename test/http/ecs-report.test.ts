import assert from 'node:assert/strict';
import { test } from 'node:test';
import { self } from '../../src/http/routes/agent-routes.ts';
import { metricSamples } from '../../src/http/routes/metrics.ts';
import type { RegistryStatus } from '../../src/registry/registry.ts';
import { sampleReport } from '../support/sample-report.ts';

const roll: RegistryStatus = {
  ...{ watching: false, ageMs: null, stale: true, nodes: null, uncertainty: null, uncertainLosses: 0, eventReaders: 0 },
  ...{ lastError: null, snapshots: 0, watchRestarts: 0, slowReaders: 0, catchUps: 0, massLosses: 0 },
} as RegistryStatus;
const drain = { state: 'waiting', reason: 'no slot', since: '2026-01-01T00:00:00.000Z' } as const;
const ecsAttributes = { state: 'failing', reason: 'denied', lastWrite: null } as const;

const samples = (name: string, report = sampleReport()) =>
  metricSamples(report, roll, 1).find((metric) => metric.name === name)?.samples ?? assert.fail(name);

test('without --drain-on and --ecs-attributes there are no samples of them', () => {
  assert.deepEqual(samples('rollcall_drain_state'), []);
  assert.deepEqual(samples('rollcall_ecs_attributes_state'), []);
});

test('with the flags the current state is one and the others are zero', () => {
  const report = sampleReport({ drain, ecsAttributes });
  const held = (name: string) => samples(name, report).filter(({ value }) => value === 1);
  assert.deepEqual(held('rollcall_drain_state'), [{ labels: { state: 'waiting' }, value: 1 }]);
  assert.deepEqual(held('rollcall_ecs_attributes_state'), [{ labels: { state: 'failing' }, value: 1 }]);
  assert.equal(samples('rollcall_drain_state', report).length, 4);
});

test('/v1/self has the states of drain and attributes', async () => {
  const request = {} as Parameters<ReturnType<typeof self>>[0];
  const reply = await self(() => sampleReport({ drain, ecsAttributes }), { status: () => roll })(request);
  const body = JSON.parse(String((reply as { body: unknown }).body));
  assert.deepEqual([body.drain, body.ecsAttributes], [drain, ecsAttributes]);
});
