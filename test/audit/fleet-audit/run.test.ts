import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type AuditSummary,
  boundDetails,
  decodeDetails,
  decodeSummary,
  encodeDetails,
  encodeSummary,
  reportOf,
} from '../../../src/audit/fleet-audit/documents.ts';
import { auditFailure } from '../../../src/audit/fleet-audit/plan.ts';
import { createAuditor, fleetAudit, publishFailure, publishResult } from '../../../src/audit/fleet-audit/run.ts';
import { decodeMemory, emptyAuditMemory, encodeMemory, remember } from '../../../src/audit/history.ts';
import type { Difference, Verdict } from '../../../src/audit/report.ts';
import { EcsError } from '../../../src/ecs/errors.ts';
import { createCell } from '../../../src/lib/cell.ts';
import { createPacer, systemClock } from '../../../src/lib/clock.ts';
import { DeadlineError } from '../../../src/lib/deadline.ts';
import { StoreError } from '../../../src/store/errors.ts';
import type { LeaderLocks } from '../../../src/store/store.ts';
import { fakeAudit, sampleAuditReport } from '../../support/fake-audit.ts';
import { fakeEcs } from '../../support/fake-ecs.ts';
import { fakeStore } from '../../support/fake-store.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

describe('create auditor', () => {
  const { signal } = new AbortController();

  test('who reads a report before the loop has looked is told of that report, and not that there is none', async () => {
    const by = { session: 'leader', instanceId: 'i-1' };
    const finishedAt = new Date(systemClock.wallMs()).toISOString();
    const differences = { ghost: 0, stray: 0, disconnected: 0, mismatch: 0 };
    const summary: AuditSummary = {
      intervalMs: 60_000,
      lastRun: { by, endedAt: finishedAt, error: null },
      result: {
        by,
        startedAt: finishedAt,
        finishedAt,
        revision: '7',
        clusters: 1,
        agreeing: 5,
        elsewhere: 0,
        differences,
      },
    };
    const documents = [
      encodeSummary(summary),
      encodeDetails({ clusters: ['demo'], differences: [], notes: [], omitted: {} }),
    ];
    const options = {
      offices: { read: async () => ({ revision: '8', holder: by, documents }) } as unknown as LeaderLocks,
      audit: fakeAudit(systemClock, 0),
      clock: systemClock,
      random: () => 0.5,
      session: 'me',
      instanceId: () => 'i-2',
      ttlMs: 30_000,
      intervalMs: 60_000,
      leaving: createCell(false),
      onStep: () => {},
    };
    const auditor = createAuditor(options, () => {});
    assert.match(auditor.status().staleReason ?? '', /^no audit has come to a result/);
    assert.equal((await auditor.read(signal)).report?.agreeing, 5);
    const { stale, staleReason, ageMs } = auditor.status();
    assert.deepEqual([stale, staleReason], [false, null]);
    assert.ok(ageMs !== null && ageMs < 60_000);
  });
});

describe('fleet audit', () => {
  const { signal } = new AbortController();
  const PRESENCE = { session: 'a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
  const departure = { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } as const;
  const node = (n: number, overrides = {}, presence: typeof PRESENCE | null = PRESENCE) => ({
    record: sampleRecord({ ec2InstanceId: sampleInstanceId(n), ...overrides }),
    presence,
  });

  test('by default the clusters are those of present and lost nodes, as far as ECS has them', async () => {
    const clock = simulatedClock();
    const ecs = fakeEcs(0, clock.monotonicMs);
    const auditOf = async (...entries: readonly ReturnType<typeof node>[]) => {
      const store = fakeStore();
      store.commit([...entries]);
      const running = fleetAudit({ store, clock, openEcs: async () => ecs }, 'roll').run(emptyAuditMemory, signal);
      const ended = running.then(({ report }) => report.clusters).catch(({ message }: Error) => message);
      for (let turn = 0; turn < 40; turn += 1) await clock.advance(1_000);
      return ended;
    };
    const elsewhere = [node(1, { cluster: 'deleted' }, null), node(2, { cluster: 'other-region' })];
    const left = node(3, { cluster: 'demo', departure }, null);
    assert.deepEqual(await auditOf(node(0, { cluster: 'demo' }), ...elsewhere), ['demo']);
    assert.deepEqual(await auditOf(node(0, { cluster: 'demo' }, null), node(4, { cluster: null })), ['demo']);
    assert.equal(
      await auditOf(...elsewhere, left),
      'audit: fake has none of the clusters of the roll: deleted, other-region',
    );
    assert.match(String(await auditOf(left)), /no node on the roll is in an ECS cluster; see --audit-clusters/);
  });

  test('10,000 nodes are audited in under three minutes, at two requests a second, with one API', async () => {
    const clock = simulatedClock();
    const store = fakeStore();
    let turn = async (_: AbortSignal): Promise<void> => assert.fail('no rate was asked for');
    const ecs = fakeEcs(10_000, clock.monotonicMs, (by) => turn(by));
    const arn = (n: number) => `arn:aws:ecs:us-east-1:123456789012:container-instance/demo/${n}`;
    store.commit(Array.from({ length: 10_000 }, (_, n) => node(n, { containerInstanceArn: arn(n), cluster: 'demo' })));
    let opened = 0;
    const openEcs = async (perSecond: number) => {
      opened += 1;
      turn = createPacer(clock, perSecond);
      return ecs;
    };
    const audit = fleetAudit({ store, clock, openEcs }, 'roll');
    const run = async () => {
      const startMs = clock.monotonicMs();
      let endMs: number | null = null;
      const running = audit.run(emptyAuditMemory, signal).finally(() => {
        endMs = clock.monotonicMs();
      });
      while (endMs === null && clock.monotonicMs() - startMs < 600_000) await clock.advance(5_000);
      return { ...(await running), durationMs: (endMs ?? Number.NaN) - startMs };
    };
    const { report, durationMs } = await run();
    assert.deepEqual([report.agreeing, report.differences], [10_000, []]);
    assert.ok(durationMs < 180_000, `${durationMs} ms`);
    assert.equal(ecs.requests.length, 201);
    await run();
    assert.deepEqual([opened, ecs.closed], [1, 0]);
    for (const [index, { atMs }] of ecs.requests.entries()) {
      const third = ecs.requests[index + 2];
      assert.ok(!third || third.atMs - atMs >= 1_000, 'a third request within a second');
    }
    audit.rest();
    await clock.advance(0);
    assert.equal(ecs.closed, 1);
  });

  test('an API that cannot be opened is tried again by the next run', async () => {
    const clock = simulatedClock();
    const store = fakeStore();
    store.commit([node(0)]);
    let opened = 0;
    const openEcs = async () => {
      opened += 1;
      throw new Error('no such file');
    };
    const audit = fleetAudit({ store, clock, openEcs }, ['demo']);
    for (let run = 0; run < 2; run += 1) await assert.rejects(audit.run(emptyAuditMemory, signal), /no such file/);
    audit.rest();
    assert.equal(opened, 2);
  });
});

describe('publication', () => {
  const by = { session: 's', instanceId: 'i-1' };
  const context = { by, intervalMs: 300_000, endedAt: '2026-01-01T00:01:00.000Z' };
  const [sample] = sampleAuditReport().differences;
  const many = (count: number, kind: Difference['kind'], reason = 'r'): Difference[] =>
    Array.from({ length: count }, () => ({ ...(sample as Difference), kind, reason }));

  test('the report is whole again from its two parts', () => {
    const report = sampleAuditReport();
    const { summary, found } = publishResult(report, emptyAuditMemory, context);
    const [decoded, details] = [decodeSummary(summary), decodeDetails(found?.details ?? '')];
    assert.ok(decoded.ok && details.ok && decoded.value.result);
    assert.deepEqual(reportOf(decoded.value.result, details.value), { ...report, omitted: {} });
  });

  test('audits that find the same have the same details, whenever they were made', () => {
    const later = { startedAt: '2026-01-01T01:00:00.000Z', finishedAt: '2026-01-01T01:00:30.000Z', revision: '9' };
    const [one, other] = [{}, later].map((times) => encodeDetails(boundDetails(sampleAuditReport(times))));
    assert.equal(one, other);
  });

  test('of many differences some of each kind are kept, and all are counted', () => {
    const differences = [...many(5_000, 'ghost'), ...many(3, 'mismatch')];
    const { summary, found } = publishResult(sampleAuditReport({ differences }), emptyAuditMemory, context);
    const [decoded, details] = [decodeSummary(summary), decodeDetails(found?.details ?? '')];
    assert.ok(decoded.ok && details.ok);
    assert.deepEqual(decoded.value.result?.differences, { ghost: 5_000, stray: 0, disconnected: 0, mismatch: 3 });
    assert.equal(details.value.differences.length, 203);
    assert.deepEqual(details.value.omitted, { ghost: 4_800 });
  });

  test('what is kept has a bound in bytes, whatever the texts', () => {
    const differences = [...many(200, 'ghost', 'ü'.repeat(5_000)), ...many(200, 'stray')];
    const text = encodeDetails(
      boundDetails(sampleAuditReport({ differences, clusters: Array(9_000).fill('c'.repeat(255)) })),
    );
    assert.ok(Buffer.byteLength(text) < 300_000, `${Buffer.byteLength(text)} bytes`);
  });

  test('a failure says why, beside the last result', () => {
    const before = decodeSummary(publishResult(sampleAuditReport(), emptyAuditMemory, context).summary);
    assert.ok(before.ok);
    const { summary, found } = publishFailure(new Error('denied'), before.value, context);
    const decoded = decodeSummary(summary);
    assert.ok(decoded.ok);
    assert.deepEqual([decoded.value.lastRun.error, decoded.value.result, found], ['denied', before.value.result, null]);
  });

  test('of what goes on the memory says the same after a few audits', () => {
    const at = { instanceId: 'i-00000001', cluster: 'demo', containerInstanceArn: 'arn:1', privateIpAddress: null };
    const verdict = { ...at, kind: 'ghost', since: null, reason: 'r' } as unknown as Verdict;
    const texts = new Set<string>();
    let memory = emptyAuditMemory;
    for (let audit = 0; audit < 10; audit += 1) {
      memory = remember(memory, [verdict], Date.UTC(2026, 0, 1, 0, 5 * audit));
      texts.add(encodeMemory(memory));
    }
    assert.equal(texts.size, 2);
  });

  test('a memory that is too large or cannot be read is an empty one', () => {
    const sighting = { firstAt: '2026-01-01T00:00:00.000Z', lastAt: '2026-01-01T00:05:00.000Z', audits: 2 };
    const memory = { sightings: { 'ghost x': sighting } };
    assert.deepEqual(decodeMemory(encodeMemory(memory), sighting.lastAt), memory);
    assert.deepEqual(decodeMemory(encodeMemory(memory), null), emptyAuditMemory);
    const large = { sightings: Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`ghost ${n}`, sighting])) };
    assert.deepEqual(decodeMemory(encodeMemory(large), sighting.lastAt), emptyAuditMemory);
    for (const text of [null, '', 'null', '{}', '{"sightings":{"a":1}}', '{"sightings":[]}']) {
      assert.deepEqual(decodeMemory(text, sighting.lastAt), emptyAuditMemory);
    }
  });

  test('each cause of a failure has a name', () => {
    const ecs = (code: string) => auditFailure(new EcsError('m', { code, retryable: false }));
    assert.deepEqual(
      [
        ecs('AccessDeniedException'),
        ecs('ExpiredTokenException'),
        ecs('NoCredentials'),
        ecs('ThrottlingException'),
        ecs('ClusterNotFoundException'),
        auditFailure(new StoreError('m', { retryable: true })),
        auditFailure(new DeadlineError('audit', 1)),
        auditFailure(new Error('m')),
      ],
      ['denied', 'credentials', 'credentials', 'throttled', 'ecs', 'store', 'late', 'other'],
    );
  });
});
