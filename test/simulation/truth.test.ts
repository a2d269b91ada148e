import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeRecord } from '../../src/record/codec.ts';
import { sampleRecord } from '../support/sample-record.ts';
import { PREFIX } from './agent.ts';
import { emptyData } from './etcd/data.ts';
import { createTruth } from './truth.ts';

test('what a restored history shares with the one before was no longer the roll at the restore', () => {
  let nowMs = 0;
  const truth = createTruth(() => nowMs);
  const data = emptyData();
  /** The digest of the roll after the address changed at that time. */
  const changedAt = (atMs: number, privateIpAddress: string) => {
    nowMs = atMs;
    const record = sampleRecord({ privateIpAddress });
    const key = `${PREFIX}/v1/records/${record.ec2InstanceId}`;
    const revision = data.write([{ key, value: encodeRecord(record), lease: '0' }]);
    assert.ok(revision);
    truth.onCommit(revision);
    return truth.digest();
  };
  const first = changedAt(1_000, '10.0.0.1');
  const second = changedAt(10_000, '10.0.0.2');
  const backup = data.copy();
  const lost = changedAt(12_000, '10.0.0.3');
  nowMs = 20_000;
  truth.onRestored(backup);

  assert.equal(truth.wasSince(9_000, first), true);
  assert.equal(truth.wasSince(11_000, first), false);
  assert.equal(truth.wasSince(13_000, lost), true);
  assert.equal(truth.wasSince(20_001, lost), false);
  assert.equal(truth.wasSince(20_001, second), true);
});
