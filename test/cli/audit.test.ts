import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuditReport, Difference, Note } from '../../src/audit/audit-report.ts';
import { renderAudit, renderNotes } from '../../src/cli/audit.ts';

const finding = {
  instanceId: 'i-00000001',
  cluster: 'demo',
  containerInstanceArn: 'arn:1',
  privateIpAddress: '10.0.0.1',
  since: null,
  reason: 'why',
};
const ghost: Difference = { ...finding, kind: 'ghost' };
const note: Note = { ...finding, kind: 'unregistered' };

function report(overrides: Partial<AuditReport> = {}): AuditReport {
  return {
    schemaVersion: 1,
    clusters: ['demo'],
    startedAt: '2026-01-01T00:00:00.000Z',
    finishedAt: '2026-01-01T01:00:00.000Z',
    revision: '7',
    agreeing: 3,
    elsewhere: 0,
    differences: [],
    notes: [],
    ...overrides,
  };
}

test('the summary counts each kind of difference and the nodes that were not compared', () => {
  assert.equal(renderAudit(report()), 'demo: 3 agree, none differs\n');
  const two = report({
    clusters: ['a', 'b', 'c', 'd'],
    elsewhere: 2,
    differences: [ghost, ghost, { ...ghost, kind: 'mismatch' }],
  });
  assert.match(
    renderAudit(two),
    /\n4 clusters: 3 agree, 3 differ: 2 ghosts, 1 mismatch; 2 present in other clusters, regions or accounts\n$/,
  );
});

test('an instant has its age beside it; an instant in the future has age 0', () => {
  const since = (text: string | null) =>
    renderAudit(report({ differences: [{ ...ghost, since: text }] })).split('\n')[1];
  assert.match(since('2026-01-01T00:30:00.000Z') ?? '', / 2026-01-01T00:30:00\.000Z \(30m\) /);
  assert.match(since('2026-01-01T02:00:00.000Z') ?? '', / \(0ms\) /);
  assert.match(since('never') ?? '', / never {2}arn/);
  assert.match(since(null) ?? '', / - {2,}arn/);
});

test('each note names its node, and at most 20 are printed', () => {
  assert.deepEqual(renderNotes(report({ notes: [note] })), ['note: unregistered: i-00000001 10.0.0.1 in demo: why']);
  const bare = { ...note, instanceId: null, cluster: null, privateIpAddress: null };
  assert.deepEqual(renderNotes(report({ notes: [bare] })), ['note: unregistered: arn:1: why']);
  const many = renderNotes(report({ notes: Array.from({ length: 30 }, () => note) }));
  assert.deepEqual([many.length, many.at(-1)], [21, 'note: 10 more notes; -o json has all of them']);
});

test('control characters from another node’s record do not reach the terminal', () => {
  const evil = 'x\u001b[2J\nforged';
  const lines = [
    ...renderNotes(report({ notes: [{ ...note, reason: evil }] })),
    renderAudit(report({ differences: [{ ...ghost, reason: evil }] })),
  ];
  for (const line of lines) assert.match(line, /x\?\[2J\?forged/);
});
