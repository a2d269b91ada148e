import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodePresence, decodeRecord, encodePresence, encodeRecord, refusedFields } from '../../src/record/codec.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { decodeSummary } from '../../src/record/summary.ts';
import { anyRecord, plain, text } from '../support/any-record.ts';
import { sampleRecord } from '../support/sample-record.ts';

/** The same value with the fields of every object in the opposite order. */
function reversed<T>(value: T): T {
  if (Array.isArray(value)) return value.map(reversed) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, field]) => [key, reversed(field)]),
  ) as T;
}

describe('the record codec', () => {
  it('reads the same record that it wrote', () => {
    fc.assert(
      fc.property(anyRecord, (original) => {
        const decoded = decodeRecord(original.ec2InstanceId, encodeRecord(original));
        assert.deepEqual(decoded, { ok: true, value: original });
      }),
    );
  });

  it('lets no text that is no word into a column, names its field, and keeps the rest', () => {
    const hostile = fc.constantFrom(
      ['-oProxyCommand=touch$', '{IFS}pwned'].join(''),
      '10.9.9.9  i-8a8d0000  arn:aws:ecs',
      '\u001b]0;x',
      '\u009b31m',
      'a\u202eb',
      'a\nb',
      ' ',
      '',
    );
    const columns = [
      'containerInstanceArn',
      'cluster',
      'privateIpAddress',
      'publicIpAddress',
      'privateDnsName',
      'availabilityZone',
      'region',
      'instanceType',
      'imageId',
      'accountId',
      'instanceLifecycle',
      'machineId',
      'versionInfo.agentVersion',
      'versionInfo.agentHash',
    ] as const;
    const withText = (record: NodeRecord, path: string, value: string | null): NodeRecord => {
      const [name = '', part] = path.split('.');
      const inner = record[name as 'versionInfo'];
      return { ...record, [name]: part === undefined ? value : { ...inner, [part]: value } };
    };
    fc.assert(
      fc.property(anyRecord, fc.constantFrom(...columns), hostile, (original, column, value) => {
        const changed = withText(original, column, value);
        for (const [json, refused] of [
          [JSON.stringify(changed), [column]],
          // It is not written either.
          [encodeRecord(changed), []],
        ] as const) {
          const decoded = decodeRecord(original.ec2InstanceId, json);
          assert.deepEqual(decoded, { ok: true, value: withText(original, column, null) });
          assert.deepEqual(refusedFields(decoded.value), refused);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('refuses a difference of clocks of more than a century', () => {
    for (const [clockSkewSeconds, read] of [
      [3_155_760_000, 3_155_760_000],
      [-3_155_760_001, null],
      [9_999_999_999, null],
      [Number.MAX_SAFE_INTEGER, null],
    ] as const) {
      const json = JSON.stringify({ ...sampleRecord(), clockSkewSeconds });
      for (const decoded of [decodeRecord('i-00000000', json), decodeSummary('i-00000000', json)]) {
        assert.equal(decoded.ok && decoded.value.clockSkewSeconds, read);
        assert.deepEqual(decoded.ok && refusedFields(decoded.value), read === null ? ['clockSkewSeconds'] : []);
      }
    }
  });

  it('takes for an address only what is one', () => {
    const numbers = ['10.0.0.256', '10.0.0', '010.0.0.1', '1.2.3.4;id', 'localhost', '$(id)'];
    // A zone id is a host's own name for an interface, may be any text, and makes a zone file of DNS unreadable.
    const zoned = ['fe80::1%eth0', 'fe80::1%eth0;id', '::1%a b\n', 'fe80::1%'];
    for (const value of [...numbers, ...zoned]) {
      for (const field of ['privateIpAddress', 'publicIpAddress'] as const) {
        const json = JSON.stringify({ ...sampleRecord(), [field]: value });
        const decoded = decodeRecord('i-00000000', json);
        assert.equal(decoded.ok && decoded.value[field], null, value);
        assert.deepEqual(decoded.ok && refusedFields(decoded.value), [field]);
      }
    }
  });

  it('reads 64 labels and 64 checks, so that many small ones cannot take the memory of many records', () => {
    const [check] = sampleRecord().health.checks;
    const sized = (count: number) => {
      const labels = Object.fromEntries(Array.from({ length: count }, (_, n) => [`l${n}`, '']));
      const health = { ...sampleRecord().health, checks: new Array(count).fill(check) };
      return JSON.stringify({ ...sampleRecord(), labels, health });
    };
    for (const [count, refused] of [
      [64, []],
      [65, ['labels.l64', 'health.checks after 64']],
      [600, [...Array.from({ length: 10 }, (_, n) => `labels.l${64 + n}`), 'health.checks after 64']],
    ] as const) {
      const decoded = decodeRecord('i-00000000', sized(count));
      assert.ok(decoded.ok);
      assert.equal(Object.keys(decoded.value.labels).length, 64);
      assert.equal(decoded.value.health.checks.length, 64);
      assert.deepEqual(refusedFields(decoded.value), refused);
    }
  });

  it('leaves out a label that could not stand in a column, and names it', () => {
    const labels = { role: 'node', 'a b': 'x', note: 'two words', dash: '-x' };
    const decoded = decodeRecord('i-00000000', JSON.stringify({ ...sampleRecord(), labels }));
    assert.ok(decoded.ok);
    assert.deepEqual(decoded.value.labels, { role: 'node', dash: '-x' });
    assert.deepEqual(refusedFields(decoded.value), ['labels.a b', 'labels.note']);
  });

  it('reads a record with many names of labels that are no words in one pass, and names few of them', () => {
    const labels = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`${n} `, '']));
    const before = process.cpuUsage();
    const decoded = decodeRecord('i-00000000', JSON.stringify({ ...sampleRecord(), labels }));
    // One pass takes some 5 ms; one that copies what is left for each name took many seconds.
    assert.ok(process.cpuUsage(before).user < 2_000_000);
    assert.ok(decoded.ok);
    assert.deepEqual(decoded.value.labels, {});
    assert.equal(refusedFields(decoded.value).length, 10);
  });

  it('does not parse a value of more than 64 kB: it is skipped and named as broken JSON is', () => {
    const sized = (bytes: number) => {
      const bare = JSON.stringify({ ...sampleRecord(), labels: { x: '' } }).length;
      return JSON.stringify({ ...sampleRecord(), labels: { x: 'y'.repeat(bytes - bare) } });
    };
    const refusal = { ok: false, reason: '65537 characters: more than 65536' };
    for (const decodeEither of [decodeRecord, decodeSummary]) {
      assert.ok(decodeEither('i-00000000', sized(65_536)).ok);
      assert.deepEqual(decodeEither('i-00000000', sized(65_537)), refusal);
    }
    assert.ok(!decodePresence(`{"session":"${'s'.repeat(70_000)}","since":"x","ttlSeconds":1}`).ok);
  });

  it('refuses a number that is none in an answer, and a duration below 0', () => {
    const presence = (ttlSeconds: string) => decodePresence(`{"session":"s","since":"x","ttlSeconds":${ttlSeconds}}`);
    const number = { ok: false, reason: 'ttlSeconds: expected a number' };
    assert.deepEqual(presence('1e999'), number);
    assert.deepEqual(presence('-1e999'), number);
    assert.deepEqual(presence('-1'), { ok: false, reason: 'ttlSeconds: expected a number from 0' });
    assert.ok(presence('0.5').ok);
    const record = JSON.stringify(sampleRecord()).replace(/"schemaVersion":\d+/, '"schemaVersion":-1e999');
    assert.deepEqual(decodeRecord('i-00000000', record), { ok: false, reason: 'schemaVersion: expected a number' });
  });

  it('lets no name of a label into a message as it is', () => {
    const decoded = decodeRecord(
      'i-00000000',
      JSON.stringify({ ...sampleRecord(), labels: { [`\u001b]0;${'x'.repeat(999)}`]: 1 } }),
    );
    assert.ok(!decoded.ok && decoded.reason.length < 120 && !decoded.reason.includes('\u001b'));
    const presence = decodePresence(JSON.stringify({ session: '\u009b2J', since: 'x', ttlSeconds: 1 }));
    assert.ok(presence.ok && presence.value.session === '?2J');
  });

  it('makes free text safe to print', () => {
    const [check] = sampleRecord().health.checks;
    const health = {
      ...sampleRecord().health,
      checks: [{ ...check, name: 'a', status: 'passing', since: '', reason: 'x\u001b[2J\u009b\u202e y' }],
    };
    const decoded = decodeRecord('i-00000000', JSON.stringify({ ...sampleRecord(), health }));
    assert.equal(decoded.ok && decoded.value.health.checks[0]?.reason, 'x?[2J?? y');
  });

  it('writes equal records as equal text, in whatever order their fields were set', () => {
    fc.assert(
      fc.property(anyRecord, (original) => {
        assert.equal(encodeRecord(reversed(original)), encodeRecord(original));
      }),
    );
  });

  it('gives a one-line reason for invalid input and never throws', () => {
    const junk = fc.oneof(
      fc.string(),
      fc.json(),
      // Almost a record: one field of it is something else.
      fc.tuple(anyRecord, fc.nat(), fc.jsonValue()).map(([original, n, value]) => {
        const fields = Object.keys(original);
        return JSON.stringify({ ...original, [fields[n % fields.length] ?? '']: value });
      }),
    );
    fc.assert(
      fc.property(junk, (json) => {
        for (const decoded of [decodeRecord('i-00000000', json), decodePresence(json)]) {
          if (!decoded.ok) assert.match(decoded.reason, /^[^\n]+$/);
        }
      }),
    );
  });

  it('ignores unknown fields and fills in those that an older writer did not have', () => {
    const { labels: _, interruption: __, imageId: ___, ...older } = sampleRecord();
    const json = JSON.stringify({ ...older, future: { nested: true } });
    const expected = { ...sampleRecord(), labels: {}, interruption: null, imageId: null };
    assert.deepEqual(decodeRecord('i-00000000', json), { ok: true, value: expected });
  });

  it('refuses a newer schemaVersion and a record under another id', () => {
    const newer = decodeRecord('i-00000000', JSON.stringify({ ...sampleRecord(), schemaVersion: 2 }));
    assert.match(newer.ok ? '' : newer.reason, /schemaVersion 2 is newer than 1/);
    const moved = decodeRecord('i-00000001', encodeRecord(sampleRecord()));
    assert.match(moved.ok ? '' : moved.reason, /for i-00000000, its key for i-00000001/);
  });

  it('reads the same presence that it wrote', () => {
    fc.assert(
      fc.property(plain({ session: text, since: text, ttlSeconds: fc.nat() }), (presence) => {
        assert.deepEqual(decodePresence(encodePresence(presence)), { ok: true, value: presence });
      }),
    );
  });
});
