import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type DnsSettings,
  dnsNames,
  nextSerial,
  renderHosts,
  renderZone,
  serialOf,
} from '../../../src/cli/dns/dns-names.ts';
import type { NodeRecord } from '../../../src/record/record.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';

const SETTINGS: DnsSettings = {
  ...{ zone: 'rollcall.internal', byLabel: ['role', 'rack'], ttlSeconds: 30 },
  services: [{ name: 'http', port: 8080 }],
};
const node = (n: number, overrides: Partial<NodeRecord> = {}) => ({
  presence: null,
  record: sampleRecord({ ec2InstanceId: sampleInstanceId(n), privateIpAddress: `10.0.0.${n}`, ...overrides }),
});
const labels = (role: string, more: Record<string, string> = {}) => ({ labels: { role, ...more } });

test('a node has a name of its own and one by each label, in a hosts file and in a zone', () => {
  const names = dnsNames(
    [node(2, labels('Web', { rack: '7' })), node(1, { labels: {} }), node(3, labels('web'))],
    SETTINGS,
  );
  assert.deepEqual(names.leftOut, []);
  assert.deepEqual(renderHosts(names, SETTINGS).split('\n').slice(1), [
    '10.0.0.1 i-00000001.rollcall.internal',
    '10.0.0.2 i-00000002.rollcall.internal web.role.rollcall.internal 7.rack.rollcall.internal',
    '10.0.0.3 i-00000003.rollcall.internal web.role.rollcall.internal',
    '',
  ]);
  const [, ...zone] = renderZone(names, SETTINGS, 7).split('\n');
  assert.deepEqual(zone.slice(0, 6), [
    '$ORIGIN rollcall.internal.',
    '$TTL 30',
    '@ IN SOA localhost. hostmaster.localhost. 7 30 30 86400 30',
    '@ IN NS localhost.',
    'i-00000001 IN A 10.0.0.1',
    'i-00000002 IN A 10.0.0.2',
  ]);
  assert.deepEqual(
    zone.filter((line) => /SRV/.test(line) && !/rack/.test(line)),
    [
      '_http._tcp IN SRV 0 0 8080 i-00000001',
      '_http._tcp IN SRV 0 0 8080 i-00000002',
      '_http._tcp.web.role IN SRV 0 0 8080 i-00000002',
      '_http._tcp IN SRV 0 0 8080 i-00000003',
      '_http._tcp.web.role IN SRV 0 0 8080 i-00000003',
    ],
  );
});

test('an IPv6 address is an AAAA record', () => {
  const names = dnsNames([node(1, { privateIpAddress: 'fd00::1' })], SETTINGS);
  assert.match(renderZone(names, SETTINGS, 1), /^i-00000001 IN AAAA fd00::1$/m);
});

test('hostile labels and addresses reach neither file, and are named', () => {
  const hostile = [
    ...['a b', 'x\n10.6.6.6 i-00000002.rollcall.internal', '$INCLUDE /etc/shadow', '*', '@', '-a', 'a.b', '', 'ünï'],
    ...['a'.repeat(64), '\u001b[2J', 'a;b', '"'],
  ];
  const entries = hostile.map((role, n) => node(n + 1, labels(role)));
  entries.push(node(90, { privateIpAddress: null }), node(91, { privateIpAddress: '10.0.0.1 evil' }));
  const names = dnsNames(entries, SETTINGS);
  assert.equal(names.leftOut.length, entries.length);
  assert.equal(names.nodes.length, hostile.length);
  for (const line of renderHosts(names, SETTINGS).trimEnd().split('\n').slice(1)) {
    assert.match(line, /^10\.0\.0\.\d+ i-[0-9a-f]{8}\.rollcall\.internal$/);
  }
  assert.doesNotMatch(renderZone(names, SETTINGS, 1), /role|INCLUDE|evil|\*/);
  assert.ok(names.leftOut.every((line) => /^i-[0-9a-f]{8}: /.test(line)));
});

test('a label that every object has as a property is none', () => {
  assert.deepEqual(dnsNames([node(1)], { ...SETTINGS, byLabel: ['constructor'] }).nodes[0]?.byLabel, []);
});

test('a serial is the time, and after the last one where the clock is behind', () => {
  assert.equal(nextSerial(null, 1_700_000_000), 1_700_000_000);
  assert.equal(nextSerial(1_600_000_000, 1_700_000_000), 1_700_000_000);
  assert.equal(nextSerial(1_700_000_000, 1_700_000_000), 1_700_000_001);
  assert.equal(nextSerial(1_800_000_000, 1_700_000_000), 1_800_000_001);
  assert.equal(nextSerial(2 ** 32 - 1, 1_700_000_000), 0);
  assert.equal(serialOf(renderZone(dnsNames([], SETTINGS), SETTINGS, 4_294_967_295)), 4_294_967_295);
  assert.equal(serialOf('# a hosts file\n'), null);
});
