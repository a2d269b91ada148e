import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Difference, Verdict } from '../../../src/audit/audit-report.ts';
import {
  boundDetails,
  decodeAuditSummary,
  decodeDetails,
  encodeAuditSummary,
  encodeDetails,
  publishFailure,
  publishResult,
  reportOf,
} from '../../../src/audit/fleet-audit/documents.ts';
import { decodeMemory, emptyAuditMemory, encodeMemory, remember } from '../../../src/audit/history.ts';
import { sampleAuditReport, sampleSummary } from '../../support/fake-audit.ts';

const by = { session: 's', instanceId: 'i-1' };
const context = { by, intervalMs: 300_000, endedAt: '2026-01-01T00:01:00.000Z' };
const [sample] = sampleAuditReport().differences;
const many = (count: number, kind: Difference['kind'], reason = 'r'): Difference[] =>
  Array.from({ length: count }, () => ({ ...(sample as Difference), kind, reason }));

test('the report is whole again from its two parts', () => {
  const report = sampleAuditReport();
  const { summary, found } = publishResult(report, emptyAuditMemory, context);
  const [decoded, details] = [decodeAuditSummary(summary), decodeDetails(found?.details ?? '')];
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
  const [decoded, details] = [decodeAuditSummary(summary), decodeDetails(found?.details ?? '')];
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
  const before = decodeAuditSummary(publishResult(sampleAuditReport(), emptyAuditMemory, context).summary);
  assert.ok(before.ok);
  const { summary, found } = publishFailure(new Error('denied'), before.value, context);
  const decoded = decodeAuditSummary(summary);
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

test('a summary comes back as it was written, and what is none says why', () => {
  const whole = sampleSummary(0);
  assert.deepEqual(decodeAuditSummary(encodeAuditSummary(whole)), { ok: true, value: whole });
  const without = sampleSummary(0, { result: null });
  assert.deepEqual(decodeAuditSummary(encodeAuditSummary(without)), { ok: true, value: without });
  for (const text of [
    '',
    'null',
    '[]',
    '{}',
    '{"schemaVersion":2}',
    encodeAuditSummary(whole).replace('"ghost":1', '"ghost":"1"'),
  ]) {
    assert.equal(decodeAuditSummary(text).ok, false, text);
  }
});
