import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choosePrivateAddress, type Interfaces, parseDefaultRoute } from '../../src/sources/external-instance.ts';

const HEAD = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n';
const route = (name: string, destination: string, flags: string, metric: number, mask: string) =>
  `${name}\t${destination}\t0101000A\t${flags}\t0\t0\t${metric}\t${mask}\t0\t0\t0   \n`;

test('the default route that is up and has the lowest metric', () => {
  const lan = route('eth1', '0001000A', '0001', 0, '00FFFFFF');
  assert.equal(parseDefaultRoute(HEAD + lan + route('eth0', '00000000', '0003', 100, '00000000')), 'eth0');
  const two =
    HEAD + route('wlan0', '00000000', '0003', 600, '00000000') + route('eth0', '00000000', '0003', 100, '00000000');
  assert.equal(parseDefaultRoute(two), 'eth0');
  // A route half as wide as the default, as a VPN sets it, is none; nor is one that is down.
  assert.equal(parseDefaultRoute(HEAD + route('tun0', '00000000', '0003', 0, '00000080')), null);
  assert.equal(parseDefaultRoute(HEAD + route('eth0', '00000000', '0002', 0, '00000000')), null);
  for (const text of ['', HEAD, HEAD + lan, 'nonsense', '\n\n']) assert.equal(parseDefaultRoute(text), null, text);
});

const ipv4 = (address: string, internal = false) => ({
  address,
  internal,
  family: 'IPv4' as const,
  netmask: '255.255.255.0',
  mac: '00:00:00:00:00:00',
  cidr: null,
});
const ipv6 = (address: string) => ({ ...ipv4(address), family: 'IPv6' as const, scopeid: 0 });
const HOST: Interfaces = {
  lo: [ipv4('127.0.0.1', true)],
  docker0: [ipv4('172.17.0.1')],
  eth0: [ipv6('fe80::1'), ipv4('169.254.7.7'), ipv4('10.0.0.7'), ipv4('10.0.0.8')],
};

test('the first IPv4 address of the interface with the default route; without one, the only one', () => {
  assert.deepEqual(choosePrivateAddress(HOST, 'eth0'), { address: '10.0.0.7' });
  const { docker0, ...others } = HOST;
  assert.ok(docker0);
  assert.deepEqual(choosePrivateAddress({ ...others, eth0: [ipv4('10.0.0.7')] }, null), { address: '10.0.0.7' });
});

test('where it is not clear nothing is guessed, and what was found is told', () => {
  assert.deepEqual(choosePrivateAddress(HOST, null), {
    unclear: 'no default route, and docker0 172.17.0.1, eth0 10.0.0.7, eth0 10.0.0.8 on the host; give --private-ip',
  });
  assert.deepEqual(choosePrivateAddress(HOST, 'eth9'), {
    unclear:
      'no IPv4 address on eth9, and docker0 172.17.0.1, eth0 10.0.0.7, eth0 10.0.0.8 on the host; give --private-ip',
  });
  assert.deepEqual(choosePrivateAddress({}, null), {
    unclear: 'no default route, and no address on the host; give --private-ip',
  });
});
