import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type Decoded,
  decodePresence,
  decodeRecord,
  encodePresence,
  encodeRecord,
  refusedFields,
} from '../../src/record/codec.ts';
import type { Presence } from '../../src/record/record.ts';
import { decodeSummary, decodeWrittenPresence, type NodeSummary } from '../../src/record/summary.ts';
import { anyRecord, plain, text } from '../support/any-record.ts';
import { fewerInQuickRun } from '../support/quick-run.ts';
import { sampleRecord } from '../support/sample-record.ts';

/** The fields of a summary and the refused fields, or why there is none. */
function told(decoded: Decoded<NodeSummary>) {
  if (!decoded.ok) return decoded.reason;
  const { ec2InstanceId, containerInstanceArn, cluster, privateIpAddress, availabilityZone } = decoded.value;
  const { departure, clockSkewSeconds, health } = decoded.value;
  return {
    ...{ ec2InstanceId, containerInstanceArn, cluster, privateIpAddress, availabilityZone, departure },
    ...{ clockSkewSeconds, status: health.status, refused: refusedFields(decoded.value) },
  };
}

function hasSameSummary(instanceId: string, json: string): void {
  assert.deepEqual(told(decodeSummary(instanceId, json)), told(decodeRecord(instanceId, json)));
}

/** One place of the text replaced, left out or doubled. */
const damage = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  cut: fc.nat(3),
  put: fc.oneof(
    fc.constantFrom('', '"', '\\', ',', '{}', 'null', '-', ' ', '\n', '\u202e', '1', '999', '.', ':'),
    fc.string(),
  ),
});

function damaged(json: string, { at, cut, put }: { at: number; cut: number; put: string }): string {
  const place = Math.floor(at * json.length);
  return json.slice(0, place) + put + json.slice(place + cut);
}

describe('a summary', () => {
  it('is that of the record, whatever an agent wrote', () => {
    fc.assert(fc.property(anyRecord, (record) => hasSameSummary(record.ec2InstanceId, encodeRecord(record))));
  });

  it('is that of the record, also where the text is damaged, and none where the record is none', () => {
    const record = fc.oneof(fc.constant(sampleRecord()), anyRecord);
    fc.assert(
      fc.property(record, damage, (original, how) =>
        hasSameSummary(original.ec2InstanceId, damaged(encodeRecord(original), how)),
      ),
      { numRuns: fewerInQuickRun(3_000) },
    );
  });

  it('is that of the record for each value at the edge of what a column may hold', () => {
    const [instanceId, whole] = [sampleRecord().ec2InstanceId, encodeRecord(sampleRecord())];
    const values = [
      '-x',
      ' ',
      'a b',
      'ä',
      '\\u0041',
      '10.0.0.256',
      '010.0.0.1',
      '1.2.3',
      '::1',
      '256.1.1.1',
      '0.0.0.0',
    ];
    for (const value of [...values, 'a.b', 'a_', 'a-', '.a', 'x'.repeat(254), 'x'.repeat(253)]) {
      for (const text of [
        'demo',
        '10.113.0.23',
        'us-east-1a',
        'ip-10-113-0-23.ec2.internal',
        'node',
        'role',
        '1.70.0',
      ]) {
        hasSameSummary(instanceId, whole.replace(`"${text}"`, `"${value}"`));
      }
    }
    hasSameSummary('i-99999999', whole);
    hasSameSummary(instanceId, whole.replace(',"labels":{"role":"node"}', ',"labels":{"a":"1","b":"-2","c":"x y"}'));
  });

  it('is that of the record where it has more labels or checks than are read', () => {
    const [check] = sampleRecord().health.checks;
    for (const count of [64, 65, 66]) {
      const labels = Object.fromEntries(Array.from({ length: count }, (_, n) => [`l${n}`, '']));
      const health = { ...sampleRecord().health, checks: new Array(count).fill(check) };
      hasSameSummary('i-00000000', JSON.stringify({ ...sampleRecord(), labels }));
      hasSameSummary('i-00000000', JSON.stringify({ ...sampleRecord(), health }));
    }
  });

  it('is taken from the text itself for a usual node, so that a long list need not parse it', () => {
    for (const overrides of [{}, { publicIpAddress: '203.0.113.7', cluster: null }, { labels: { a: '1', b: '' } }]) {
      const record = sampleRecord(overrides);
      const decoded = decodeSummary(record.ec2InstanceId, encodeRecord(record));
      assert.ok(decoded.ok && !('sidecar' in decoded.value));
    }
  });

  it('takes a time that grows with the text alone', () => {
    const [instanceId, whole] = [sampleRecord().ec2InstanceId, encodeRecord(sampleRecord())];
    const hostile = [
      `{"role":"node"${',"a":"b"'.repeat(200_000)}`,
      `{"role":"${'x'.repeat(1_000_000)}`,
      '{"-":'.repeat(200_000),
    ];
    for (const labels of hostile) hasSameSummary(instanceId, whole.replace('{"role":"node"}', labels));
  });
});

it('a presence is read as its decoder does, whatever was written', () => {
  const presence = plain<Presence>({ session: text, since: text, ttlSeconds: fc.nat() });
  fc.assert(
    fc.property(presence, fc.option(damage), (original, how) => {
      const json = how === null ? encodePresence(original) : damaged(encodePresence(original), how);
      assert.deepEqual(decodeWrittenPresence(json), decodePresence(json));
    }),
    { numRuns: 2_000 },
  );
});
