import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { isHostName } from '../../src/lib/foreign-text.ts';
import type { MetadataFacts } from '../../src/record/record.ts';
import type { ImdsFault } from '../../src/simulator/simulated-node.ts';
import { createImdsClient } from '../../src/sources/imds.ts';
import {
  METADATA_FIELDS,
  mergeMetadata,
  parseIdentityDocument,
  parseLeaf,
  readMetadata,
} from '../../src/sources/metadata.ts';
import { SourceError } from '../../src/sources/source-error.ts';
import { timed } from '../support/machine-time.ts';
import { scaledClock } from '../support/scaled-clock.ts';
import { simulateNode } from './simulate-node.ts';
import { startRawServer } from './start-raw-server.ts';

/** Of any code points. `fc.string({ unit: 'binary' })` is the same, but a table of all of them takes a second to build. */
const anyText = fc.array(fc.integer({ min: 0, max: 0x10ffff })).map((points) => String.fromCodePoint(...points));

describe('merge metadata', () => {
  const last: MetadataFacts = {
    ec2InstanceId: 'i-0123456789abcdef0',
    privateIpAddress: '10.113.0.23',
    publicIpAddress: '203.0.113.7',
    privateDnsName: 'ip-10-113-0-23.ec2.internal',
    availabilityZone: 'us-east-1a',
    region: 'us-east-1',
    instanceType: 'm5.large',
    imageId: 'ami-0b69ea66ff7391e80',
    accountId: '123456789012',
    instanceLifecycle: 'on-demand',
  };
  const { ec2InstanceId, privateIpAddress } = last;
  const read = (facts: Partial<MetadataFacts>) => ({ facts, failures: [] });

  test('the first read needs only the instance id; facts that could not be read stay absent', () => {
    assert.deepEqual(mergeMetadata(null, read({ ec2InstanceId, publicIpAddress: null })), {
      facts: { ec2InstanceId, publicIpAddress: null },
      refused: null,
    });
  });

  test('a first read without an instance id gives nothing', () => {
    assert.deepEqual(mergeMetadata(null, read({ privateIpAddress })), {
      facts: null,
      refused: 'EC2 metadata has no instance id',
    });
  });

  test('a refresh without an instance id is refused and the last facts stay', () => {
    const { facts, refused } = mergeMetadata(last, read({ privateIpAddress: '10.0.0.1' }));
    assert.equal(facts, last);
    assert.equal(refused, 'EC2 metadata has no instance id');
  });

  test('a refresh without a private address is refused and the last facts stay', () => {
    for (const lost of [{ ec2InstanceId }, { ec2InstanceId, privateIpAddress: null }]) {
      const { facts, refused } = mergeMetadata(last, read({ ...lost, publicIpAddress: null }));
      assert.equal(facts, last);
      assert.equal(refused, 'EC2 metadata has no private address; the last one was 10.113.0.23');
    }
  });

  test('a refresh without a private address is accepted if none was known', () => {
    const never = { ...last, privateIpAddress: null };
    const { facts, refused } = mergeMetadata(never, read({ ec2InstanceId, publicIpAddress: '203.0.113.8' }));
    assert.equal(refused, null);
    assert.deepEqual(facts, { ...never, publicIpAddress: '203.0.113.8' });
  });

  test('a refresh with another instance id is refused and says so', () => {
    const { facts, refused } = mergeMetadata(last, read({ ...last, ec2InstanceId: 'i-0fedcba9876543210' }));
    assert.equal(facts, last);
    assert.match(refused ?? '', /^EC2 metadata names another instance: i-0fedcba9876543210, was i-0123456789abcdef0;/);
  });

  test('in an accepted refresh, absent facts keep their value and null clears it', () => {
    const refresh = { ec2InstanceId, privateIpAddress: '10.113.9.9', publicIpAddress: null, instanceType: 'm5.xlarge' };
    assert.deepEqual(mergeMetadata(last, read(refresh)), {
      facts: { ...last, privateIpAddress: '10.113.9.9', publicIpAddress: null, instanceType: 'm5.xlarge' },
      refused: null,
    });
  });
});

describe('parse identity document', () => {
  const document = {
    accountId: '123456789012',
    architecture: 'x86_64',
    availabilityZone: 'us-east-1a',
    billingProducts: null,
    imageId: 'ami-0b69ea66ff7391e80',
    instanceId: 'i-0123456789abcdef0',
    instanceType: 'm5.large',
    pendingTime: '2026-11-22T09:00:00Z',
    privateIp: '10.113.0.23',
    region: 'us-east-1',
    version: '2017-09-30',
  };

  test('a document gives its facts; facts it does not have are absent', () => {
    const { facts, refused } = parseIdentityDocument(JSON.stringify(document));
    assert.equal(refused.size, 0);
    assert.deepEqual(facts, {
      ec2InstanceId: 'i-0123456789abcdef0',
      privateIpAddress: '10.113.0.23',
      availabilityZone: 'us-east-1a',
      region: 'us-east-1',
      instanceType: 'm5.large',
      imageId: 'ami-0b69ea66ff7391e80',
      accountId: '123456789012',
    });
  });

  test('a key that is null is null, a key that is missing is absent', () => {
    const { region: _, ...rest } = document;
    const { facts } = parseIdentityDocument(JSON.stringify({ ...rest, privateIp: null }));
    assert.equal(facts.privateIpAddress, null);
    assert.equal('region' in facts, false);
  });

  test('a document without an instance id is refused', () => {
    for (const instanceId of [undefined, null, '', 42, 'i-', ['i-0123456789abcdef0']]) {
      assert.throws(() => parseIdentityDocument(JSON.stringify({ ...document, instanceId })), {
        name: 'SourceError',
        message: /^IMDS instance identity document: instanceId: expected an instance id, got "/,
      });
    }
  });

  test('a value of a wrong type or form is absent and named, and the others are read', () => {
    for (const wrong of [{ privateIp: 42 }, { privateIp: '10.0.0' }, { region: {} }, { accountId: 123456789012 }]) {
      const { facts, refused } = parseIdentityDocument(JSON.stringify({ ...document, ...wrong }));
      const [key] = Object.keys(wrong);
      assert.match([...refused.values()].join(), new RegExp(`^IMDS instance identity document: ${key}: expected `));
      assert.deepEqual([Object.keys(facts).length, facts.ec2InstanceId], [6, 'i-0123456789abcdef0']);
      for (const name of refused.keys()) assert.equal(name in facts, false);
    }
  });

  test('HTML, a truncated body and JSON that is not an object are errors', () => {
    const text = JSON.stringify(document);
    for (const body of ['', '<html></html>', text.slice(0, -1), text.slice(0, 40), '[]', 'null', '"text"', '42']) {
      assert.throws(() => parseIdentityDocument(body), {
        name: 'SourceError',
        message: /expected a JSON object, got "/,
      });
    }
  });

  test('for any input the result is facts or a SourceError of one short line', () => {
    fc.assert(
      fc.property(fc.oneof(anyText, fc.json()), (body) => {
        try {
          parseIdentityDocument(body);
        } catch (error) {
          assert.ok(error instanceof SourceError);
          assert.ok(error.message.length < 200 && !error.message.includes('\n'), error.message);
        }
      }),
    );
  });
});

describe('parse leaf', () => {
  const good: [keyof MetadataFacts, string][] = [
    ['ec2InstanceId', 'i-12345678'],
    ['ec2InstanceId', 'i-0123456789abcdef0'],
    ['privateIpAddress', '10.113.0.23'],
    ['publicIpAddress', '203.0.113.7'],
    ['privateDnsName', 'ip-10-113-0-23.ec2.internal'],
    ['availabilityZone', 'us-east-1a'],
    ['availabilityZone', 'us-west-2-lax-1a'],
    ['availabilityZone', 'us-gov-west-1a'],
    ['region', 'ap-southeast-2'],
    ['instanceType', 'm5.large'],
    ['instanceType', 'u-6tb1.112xlarge'],
    ['imageId', 'ami-0b69ea66ff7391e80'],
    ['instanceLifecycle', 'on-demand'],
    ['instanceLifecycle', 'spot'],
    ['instanceLifecycle', 'capacity-block'],
  ];

  const bad: [keyof MetadataFacts, string][] = [
    ['ec2InstanceId', ''],
    ['ec2InstanceId', 'i-0123456'],
    ['ec2InstanceId', 'i-0123456789abcdef0\ni-0123456789abcdef1'],
    ['privateIpAddress', '10.113.0'],
    ['privateIpAddress', '10.113.0.256'],
    ['privateIpAddress', '10.113.0.23\n10.113.0.24'],
    ['privateDnsName', `a${'.a'.repeat(200)}`],
    ['privateDnsName', '_'],
    ['privateDnsName', '.'],
    ['privateDnsName', 'a,b'],
    ['privateDnsName', '-host'],
    ['availabilityZone', 'somewhere'],
    ['instanceType', 'm5 large'],
    ['imageId', 'image'],
    ['instanceLifecycle', 'Spot!'],
  ];

  test('a valid leaf is its text without the final newline', () => {
    for (const [name, text] of good) {
      assert.equal(parseLeaf(METADATA_FIELDS[name], text), text);
      assert.equal(parseLeaf(METADATA_FIELDS[name], `${text}\n`), text);
    }
  });

  test('a leaf with several lines, too long or of another form is an error', () => {
    for (const [name, text] of bad) {
      assert.throws(() => parseLeaf(METADATA_FIELDS[name], text), SourceError, `${name} ${text}`);
    }
  });

  test('HTML and JSON are valid for no leaf', () => {
    for (const field of Object.values(METADATA_FIELDS)) {
      for (const text of ['<!DOCTYPE html>\n<html></html>', '<html>', '{"unexpected":42}', '[]', 'null\n\n']) {
        assert.throws(() => parseLeaf(field, text), SourceError, `${field.leaf} ${text}`);
      }
    }
  });

  test('the error names the leaf and the expected value, and cuts the invalid text to 60 characters', () => {
    assert.throws(() => parseLeaf(METADATA_FIELDS.privateIpAddress, `<html>\r\n\u0007${'x'.repeat(10_000)}`), {
      message: `IMDS meta-data/local-ipv4: expected an IPv4 address, got "<html> ?${'x'.repeat(52)}…"`,
    });
  });

  test('if DHCP options give several host names, the first one is used; a dot at the end goes', () => {
    for (const text of [
      'ip-10-0-0-1.a.example b.example',
      'ip-10-0-0-1.a.example.',
      'ip-10-0-0-1.a.example. b.example.',
    ]) {
      assert.equal(parseLeaf(METADATA_FIELDS.privateDnsName, text), 'ip-10-0-0-1.a.example');
    }
  });
});

describe('read metadata', () => {
  const { signal } = new AbortController();

  /** Stretches 500 ms to two seconds, so that a slow test machine does not look like a leaf that hangs. */
  const CLOCK_SPEED = 0.25;
  const slowClock = scaledClock(CLOCK_SPEED);

  /** The time for a connection is not the clock's: a busy machine may take long. */
  function openClient(t: TestContext, endpoint: string, timeoutMs = 20_000) {
    const client = createImdsClient({ endpoint, clock: slowClock, allowV1: false, timeoutMs });
    t.after(() => client.close());
    return client;
  }

  async function startNode(t: TestContext) {
    const { simulator, ...node } = await simulateNode(t);
    return { ...node, break: (imds: ImdsFault) => simulator.setFault(node.id, { imds }) };
  }

  const LEAVES: Readonly<Record<string, string>> = {
    'instance-id': 'i-0123456789abcdef0',
    'local-ipv4': '10.113.0.23',
    'public-ipv4': '203.0.113.7',
    'local-hostname': 'ip-10-113-0-23.ec2.internal',
    'instance-type': 'm5.large',
    'ami-id': 'ami-0b69ea66ff7391e80',
    'instance-life-cycle': 'spot',
    'placement/availability-zone': 'us-east-1a',
    'placement/region': 'us-east-1',
  };

  /** A service with all leaves and no document; `special` overrides the answers of some paths. */
  const startLeaves = (t: TestContext, special: Readonly<Record<string, (res: ServerResponse) => void>> = {}) =>
    startRawServer(t, (req, res) => {
      const path = req.url?.replace('/latest/', '') ?? '';
      const leaf = LEAVES[path.replace('meta-data/', '')];
      if (special[path]) special[path](res);
      else if (path === 'api/token') res.end('TOKEN');
      else if (leaf === undefined) res.writeHead(404).end();
      else res.end(leaf);
    });

  test('the document and the leaves it lacks give all facts; a 404 leaf is null', async (t) => {
    const { node, imdsEndpoint } = await startNode(t);
    assert.deepEqual(await readMetadata(openClient(t, imdsEndpoint), signal), {
      facts: {
        ec2InstanceId: node.instanceId,
        privateIpAddress: '10.113.0.23',
        publicIpAddress: null,
        privateDnsName: 'ip-10-113-0-23.ec2.internal',
        availabilityZone: 'us-east-1a',
        region: 'us-east-1',
        instanceType: 'm5.large',
        imageId: node.imageId,
        accountId: '123456789012',
        instanceLifecycle: 'on-demand',
      },
      failures: [],
      notes: [],
    });
  });

  test('if the document fails, the leaves replace it; the account id, which has no leaf, is absent', async (t) => {
    const server = await startLeaves(t, {
      'dynamic/instance-identity/document': (res) => res.writeHead(500).end(),
    });
    const read = await readMetadata(openClient(t, server.endpoint), signal);
    assert.deepEqual([read.failures, read.notes], [[], ['IMDS dynamic/instance-identity/document: HTTP 500']]);
    assert.deepEqual(read.facts, {
      ec2InstanceId: LEAVES['instance-id'],
      privateIpAddress: '10.113.0.23',
      publicIpAddress: '203.0.113.7',
      privateDnsName: 'ip-10-113-0-23.ec2.internal',
      availabilityZone: 'us-east-1a',
      region: 'us-east-1',
      instanceType: 'm5.large',
      imageId: 'ami-0b69ea66ff7391e80',
      instanceLifecycle: 'spot',
    });
  });

  test('a host name is no longer than readers take', () => {
    for (const name of ['a'.repeat(253), 'a'.repeat(254), 'ip-10-0-0-9.ec2.internal']) {
      assert.equal(METADATA_FIELDS.privateDnsName.accepts(name), isHostName(name), String(name.length));
    }
  });

  test('an instance that has an IPv6 address alone has it as its private address', async (t) => {
    const gone = (res: ServerResponse) => void res.writeHead(404).end();
    for (const document of [undefined, '{"instanceId":"i-0123456789abcdef0","privateIp":null}']) {
      const answers = {
        'meta-data/local-ipv4': gone,
        'meta-data/ipv6': (res: ServerResponse) => void res.end('2600:1f18::5'),
        ...(document && { 'dynamic/instance-identity/document': (res: ServerResponse) => void res.end(document) }),
      };
      const server = await startLeaves(t, answers);
      const { facts, failures } = await readMetadata(openClient(t, server.endpoint), signal);
      assert.deepEqual([facts.privateIpAddress, failures], ['2600:1f18::5', []]);
      const wrong = await startLeaves(t, { ...answers, 'meta-data/ipv6': (res) => void res.end('fe80::1%eth0') });
      const read = await readMetadata(openClient(t, wrong.endpoint), signal);
      assert.equal('privateIpAddress' in read.facts && read.facts.privateIpAddress !== null, false);
      assert.match(read.failures.join(), /^IMDS meta-data\/ipv6: expected an IPv6 address, got "fe80::1%eth0"/);
    }
  });

  test('no document is no failure, since some emulators have none', async (t) => {
    const server = await startLeaves(t);
    const { facts, failures, notes } = await readMetadata(openClient(t, server.endpoint), signal);
    assert.deepEqual([facts.ec2InstanceId, failures, notes], [LEAVES['instance-id'], [], []]);
  });

  test('leaves fail independently: each failed one is named and absent, or null where its text is no such value', async (t) => {
    const server = await startLeaves(t, {
      'meta-data/public-ipv4': (res) => res.end('<html>error</html>'),
      'meta-data/local-hostname': (res) => res.writeHead(503).end(),
      'meta-data/instance-life-cycle': (res) => res.destroy(),
      'meta-data/ami-id': (res) => res.end(`ami-1\nami-2`),
    });
    const { facts, failures, notes } = await readMetadata(openClient(t, server.endpoint), signal);
    assert.deepEqual(Object.keys(facts).sort(), [
      'availabilityZone',
      'ec2InstanceId',
      'imageId',
      'instanceType',
      'privateIpAddress',
      'publicIpAddress',
      'region',
    ]);
    assert.deepEqual([facts.imageId, facts.publicIpAddress], [null, null]);
    assert.deepEqual([failures, notes.length], [[], 4], notes.join('\n'));
    for (const leaf of [
      'public-ipv4: expected',
      'local-hostname: HTTP 503',
      'instance-life-cycle at',
      'ami-id: expected',
    ]) {
      assert.ok(
        notes.some((line) => line.startsWith(`IMDS meta-data/${leaf}`)),
        `${leaf} in ${notes.join('\n')}`,
      );
    }
  });

  test('slow leaves together take half a second, however many there are', async (t) => {
    const hang = () => {};
    const server = await startLeaves(t, {
      'meta-data/public-ipv4': hang,
      'meta-data/local-hostname': hang,
      'meta-data/instance-life-cycle': hang,
    });
    const [{ facts, notes }, tookMs] = await timed(readMetadata(openClient(t, server.endpoint), signal));
    assert.ok(tookMs * CLOCK_SPEED < 950, `${tookMs} ms`);
    assert.equal(facts.ec2InstanceId, LEAVES['instance-id']);
    assert.equal(notes.filter((line) => line.endsWith('no answer within 500 ms')).length, 3);
  });

  test('an instance id that is 404 is a failure, not null', async (t) => {
    const server = await startLeaves(t, { 'meta-data/instance-id': (res) => res.writeHead(404).end() });
    const { facts, failures } = await readMetadata(openClient(t, server.endpoint), signal);
    assert.equal('ec2InstanceId' in facts, false);
    assert.ok(failures.includes('IMDS meta-data/instance-id: HTTP 404'));
  });

  const unreachable: [ImdsFault, RegExp][] = [
    ['refuse', /^connection refused at 127\.0\.0\.1:\d+: no EC2 metadata service listens there$/],
    ['hang', /^IMDS token at .*no answer within 180 ms; .*--net=host/],
    ['token-hang', /^IMDS token at .*no answer within 180 ms; .*--net=host/],
    ['error500', /^IMDS token: HTTP 500$/],
    ['unauthorized', /^IMDS token: HTTP 401$/],
  ];
  for (const [fault, message] of unreachable) {
    test(`with the fault ${fault}, one line says so and no fact is invented`, async (t) => {
      const node = await startNode(t);
      await node.break(fault);
      const client = openClient(t, node.imdsEndpoint, fault.endsWith('hang') ? 200 : undefined);
      const { facts, failures } = await readMetadata(client, signal);
      assert.deepEqual(facts, {});
      assert.equal(failures.length, 1, failures.join('\n'));
      assert.match(failures[0] ?? '', message);
      await node.break('none');
      assert.equal((await readMetadata(client, signal)).facts.ec2InstanceId, node.node.instanceId);
    });
  }

  const garbage: [ImdsFault, RegExp][] = [
    ['html', /expected .*, got "<!DOCTYPE html>/],
    ['truncated', /^IMDS .* at 127\.0\.0\.1:\d+: /],
    ['oversized', /larger than 65536 bytes/],
    ['wrong-type', /expected .*, got "/],
  ];
  for (const [fault, message] of garbage) {
    test(`with the fault ${fault}, every field is named and none is accepted`, async (t) => {
      const node = await startNode(t);
      await node.break(fault);
      const { facts, failures, notes } = await readMetadata(openClient(t, node.imdsEndpoint), signal);
      assert.deepEqual(Object.values(facts).filter(Boolean), []);
      assert.equal(failures.length, 2, failures.join('\n'));
      assert.ok(notes.length >= 7, notes.join('\n'));
      for (const line of [...failures, ...notes]) assert.match(line, message);
    });
  }

  test("an abort ends the whole read with the signal's reason", async (t) => {
    const server = await startRawServer(t, () => {});
    const controller = new AbortController();
    const read = readMetadata(openClient(t, server.endpoint), controller.signal);
    const reason = new Error('stopping');
    controller.abort(reason);
    await assert.rejects(read, (error) => error === reason);
  });
});
