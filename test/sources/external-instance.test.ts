import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  choosePrivateAddress,
  type ExternalHost,
  type ExternalIdentity,
  type Interfaces,
  parseDefaultRoute,
  parseSsmRegistration,
  readExternal,
  readSsmRegistration,
} from '../../src/sources/external-instance.ts';
import { mergeMetadata } from '../../src/sources/metadata.ts';
import { SourceError } from '../../src/sources/source-error.ts';

describe('choose private address', () => {
  const HEAD = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n';
  const route = (name: string, destination: string, flags: string, metric: number, mask: string) =>
    `${name}\t${destination}\t0101000A\t${flags}\t0\t0\t${metric}\t${mask}\t0\t0\t0   \n`;

  test('the default route is the one that is up and has the lowest metric', () => {
    const lan = route('eth1', '0001000A', '0001', 0, '00FFFFFF');
    assert.equal(parseDefaultRoute(HEAD + lan + route('eth0', '00000000', '0003', 100, '00000000')), 'eth0');
    const two =
      HEAD + route('wlan0', '00000000', '0003', 600, '00000000') + route('eth0', '00000000', '0003', 100, '00000000');
    assert.equal(parseDefaultRoute(two), 'eth0');
    // A VPN sets a route to half of all addresses; it is not a default route. A route that is down does not count.
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

  test('the address is the first IPv4 one on the default route’s interface or, without that route, the only one', () => {
    assert.deepEqual(choosePrivateAddress(HOST, 'eth0'), { address: '10.0.0.7' });
    const { docker0, ...others } = HOST;
    assert.ok(docker0);
    assert.deepEqual(choosePrivateAddress({ ...others, eth0: [ipv4('10.0.0.7')] }, null), { address: '10.0.0.7' });
  });

  test('with several possible addresses the result lists them and chooses none', () => {
    assert.deepEqual(choosePrivateAddress(HOST, null), {
      unclear: 'no default route, and docker0 172.17.0.1, eth0 10.0.0.7, eth0 10.0.0.8 on the host; set --private-ip',
    });
    assert.deepEqual(choosePrivateAddress(HOST, 'eth9'), {
      unclear:
        'no IPv4 address on eth9, and docker0 172.17.0.1, eth0 10.0.0.7, eth0 10.0.0.8 on the host; set --private-ip',
    });
    assert.deepEqual(choosePrivateAddress({}, null), {
      unclear: 'no default route, and no address on the host; set --private-ip',
    });
  });
});

describe('parse ssm registration', () => {
  const parse = (text: string) => parseSsmRegistration('/r', text);

  test('the registration file of amazon-ssm-agent is read with and without a region', () => {
    assert.deepEqual(parse('{"ManagedInstanceID":"mi-0123456789abcdef0","Region":"us-east-1"}'), {
      instanceId: 'mi-0123456789abcdef0',
      region: 'us-east-1',
    });
    assert.deepEqual(parse(' {"ManagedInstanceID":"mi-0123456789abcdef0","More":[]}\n'), {
      instanceId: 'mi-0123456789abcdef0',
      region: null,
    });
  });

  test('other content is refused with the reason', () => {
    const wrong: Record<string, RegExp> = {
      '': /SSM registration \/r: expected a JSON object, got ""/,
      '{"ManagedInstanceID":"mi-0123': /expected a JSON object/,
      '<html><body>502 Bad Gateway</body></html>': /expected a JSON object, got "<html>/,
      '["mi-0123456789abcdef0"]': /expected a JSON object/,
      '{}': /ManagedInstanceID: expected mi-… and 17 hex digits, got "none"/,
      '{"ManagedInstanceID":null}': /ManagedInstanceID: .* got "null"/,
      '{"ManagedInstanceID":17}': /ManagedInstanceID: .* got "17"/,
      '{"ManagedInstanceID":"mi-0123"}': /ManagedInstanceID: /,
      '{"ManagedInstanceID":"mi-0123456789ABCDEF0"}': /ManagedInstanceID: /,
      '{"ManagedInstanceID":"mi-0123456789abcdef0/../x"}': /ManagedInstanceID: /,
      '{"ManagedInstanceID":"i-0123456789abcdef0","Region":"us-east-1"}':
        /it names EC2 instance i-0123456789abcdef0; set --identity ec2/,
    };
    for (const [text, message] of Object.entries(wrong)) {
      assert.throws(() => parse(text), { name: 'SourceError', message }, text);
    }
  });
});

describe('read external', () => {
  const ID = 'mi-0123456789abcdef0';
  const HOST: ExternalHost = {
    registration: async () => ({ instanceId: ID, region: 'eu-west-1' }),
    interfaces: () => ({
      eth0: [
        { address: '10.0.0.7', internal: false, family: 'IPv4', netmask: '', mac: '', cidr: null },
        { address: '10.0.0.8', internal: false, family: 'IPv4', netmask: '', mac: '', cidr: null },
      ],
    }),
    hostname: () => 'rack7.example.com',
    routes: async () => 'eth0 00000000 0101000A 0003 0 0 0 00000000 0 0 0\n',
  };
  const SSM: ExternalIdentity = {
    kind: 'external',
    instanceId: null,
    registrationFile: '/r',
    privateIpAddress: null,
  };

  test('the host’s own facts are read; facts that only EC2 has are null', async () => {
    const unknown = { publicIpAddress: null, availabilityZone: null, instanceType: null, imageId: null };
    const facts = {
      ...unknown,
      ec2InstanceId: ID,
      privateIpAddress: '10.0.0.7',
      privateDnsName: 'rack7.example.com',
      region: 'eu-west-1',
      accountId: null,
      instanceLifecycle: null,
    };
    assert.deepEqual(await readExternal(SSM, HOST), { facts, failures: [], notes: [] });
    assert.deepEqual(mergeMetadata(null, { facts }), { facts, refused: null });
  });

  test('a given id needs no registration file, and a given address needs no interface', async () => {
    const dead: ExternalHost = {
      ...HOST,
      registration: () => assert.fail('it was read'),
      interfaces: () => assert.fail('they were read'),
    };
    const { facts, failures } = await readExternal({ ...SSM, instanceId: ID, privateIpAddress: '192.0.2.1' }, dead);
    assert.deepEqual(
      [facts.ec2InstanceId, facts.privateIpAddress, facts.region, failures],
      [ID, '192.0.2.1', null, []],
    );
  });

  test('without the registration file there are no facts; without a clear address only the address is missing', async () => {
    const fileless: ExternalHost = { ...HOST, registration: async () => Promise.reject(new SourceError('gone')) };
    assert.deepEqual(await readExternal(SSM, fileless), { facts: {}, failures: ['gone'], notes: [] });
    const routeless: ExternalHost = {
      ...HOST,
      routes: async () => Promise.reject(new Error('ENOENT')),
      hostname: () => 'not a name',
    };
    const { facts, failures, notes } = await readExternal(SSM, routeless);
    assert.deepEqual(notes, ['host name: expected a host name, got "not a name"']);
    assert.equal('privateIpAddress' in facts, false);
    assert.equal(facts.privateDnsName, null);
    assert.match(failures.join(), /^private address: no default route, and eth0 10\.0\.0\.7, eth0 10\.0\.0\.8/);
  });

  test('a region that is none and a dot behind the host name cost neither the identity nor the health', async () => {
    for (const region of ['7', '""', '"us east"']) {
      const registration = async () => parseSsmRegistration('file', `{"ManagedInstanceID":"${ID}","Region":${region}}`);
      const host = { ...HOST, registration, hostname: () => 'host.example.' };
      const { facts, failures, notes } = await readExternal(SSM, host);
      assert.deepEqual([facts.ec2InstanceId, facts.region, facts.privateDnsName], [ID, null, 'host.example']);
      assert.deepEqual(failures, []);
      assert.match(notes.join(), /^SSM registration file: Region: expected a region, got "/);
    }
  });

  test('a host with a new registration is refused as another instance, and the last facts stay', async () => {
    const { facts } = mergeMetadata(null, await readExternal(SSM, HOST));
    const other: ExternalHost = {
      ...HOST,
      registration: async () => ({ instanceId: 'mi-0fedcba9876543210', region: null }),
    };
    const merged = mergeMetadata(facts, await readExternal(SSM, other), 'the SSM registration');
    assert.equal(merged.facts, facts);
    assert.match(
      merged.refused ?? '',
      /^the SSM registration names another instance: mi-0fedcba9876543210, was mi-0123/,
    );
  });
});

describe('read ssm registration', () => {
  test('the registration file is read; an invalid one is refused in one line with its path', async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'rollcall-ssm-'));
    t.after(() => rm(dir, { recursive: true }));
    const path = join(dir, 'registration');
    const refused = (message: RegExp) => assert.rejects(readSsmRegistration(path), { name: 'SourceError', message });
    await refused(/^read the SSM registration \/.*registration: no such file; register the host with SSM, mount/);
    const text = '{"ManagedInstanceID":"mi-0123456789abcdef0","Region":"eu-west-1"}';
    await writeFile(path, text);
    assert.deepEqual(await readSsmRegistration(path), { instanceId: 'mi-0123456789abcdef0', region: 'eu-west-1' });
    // The first 4096 bytes are valid JSON, so only the length shows that the file is too large.
    await writeFile(path, text.padEnd(4_097));
    await refused(/over 4096 bytes, so it is another file; check --ssm-registration-file/);
    await writeFile(path, text.padEnd(4_096));
    await readSsmRegistration(path);
    await rm(path);
    execFileSync('mkfifo', [path]);
    await refused(/SSM registration/);
    await rm(path);
    await assert.rejects(readSsmRegistration(dir), {
      name: 'SourceError',
      message: /SSM registration .*: it is a directory, which docker creates/,
    });
  });
});
