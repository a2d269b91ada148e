import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeStatus } from '../../src/agent/systemd.ts';
import { sampleRecord } from '../support/sample-record.ts';
import { sampleLease, sampleReport } from '../support/sample-report.ts';

test('on the roll: who, where and how', () => {
  assert.equal(describeStatus(sampleReport()), 'registered as i-00000000 in demo, passing');
  const checks = [{ name: 'ecs-agent', status: 'critical' as const, reason: 'connection refused', since: '' }];
  const record = sampleRecord({ health: { status: 'critical', since: '', checks }, cluster: null });
  assert.equal(
    describeStatus(sampleReport({ record })),
    'registered as i-00000000 in no cluster yet, critical (ecs-agent: connection refused)',
  );
});

test('not on the roll: what it waits for', () => {
  assert.equal(
    describeStatus(
      sampleReport({ lease: sampleLease({ state: 'lost', believedGood: false, lastError: 'connection refused' }) }),
    ),
    'not on the roll: i-00000000 in demo waits for etcd://10.0.0.1:2379: connection refused',
  );
  assert.equal(describeStatus(sampleReport({ record: null })), 'waiting for the EC2 metadata');
  const sources = sampleReport().sources.map((source) => ({ ...source, lastError: 'HTTP 500' }));
  assert.equal(describeStatus(sampleReport({ record: null, sources })), 'waiting for the EC2 metadata: HTTP 500');
  assert.match(describeStatus(sampleReport({ lease: sampleLease({ state: 'superseded' }) })), /^superseded: /);
});

test('a stuck loop goes before all else', () => {
  const loops = [{ name: 'publisher', ageMs: 60_001, limitMs: 60_000 }];
  assert.equal(describeStatus(sampleReport({ loops })), 'stuck: the loop publisher makes no step');
});
