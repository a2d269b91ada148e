import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createProxy } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { rootCertificates } from 'node:tls';
import { promisify } from 'node:util';
import { awsNetwork } from '../../../src/ecs/aws/network.ts';
import type { EcsError } from '../../../src/ecs/ecs-errors.ts';
import { openEcsApi } from '../../../src/ecs/open-ecs-api.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { ecsOf, startEcsEndpoint } from '../../support/ecs-endpoint.ts';

const OWN = {
  AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
  AWS_SECRET_ACCESS_KEY: 'secret',
  AWS_EC2_METADATA_DISABLED: 'true',
  AWS_CONFIG_FILE: '/dev/null',
  AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
};
const kept = { ...process.env };
before(() => {
  for (const name of Object.keys(process.env)) if (/^AWS_|_proxy$/i.test(name)) delete process.env[name];
  Object.assign(process.env, OWN);
});
after(() => {
  process.env = kept;
});

/** A cluster's instances, asked with these variables: how many there are. */
async function count(t: TestContext, variables: Readonly<Record<string, string>>): Promise<number> {
  // The SDK reads the endpoint from the process.
  process.env['AWS_ENDPOINT_URL_ECS'] = variables['AWS_ENDPOINT_URL_ECS'];
  const settings = { region: 'us-east-1', profile: null };
  const api = await openEcsApi(settings, { clock: systemClock, env: { ...process.env, ...variables } });
  t.after(() => api.close());
  const { arns } = await api.listContainerInstances('demo', null, new AbortController().signal);
  return arns.length;
}

async function listen(t: TestContext, server: Server & { closeAllConnections?: () => void }): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    server.closeAllConnections?.();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

const refusedWith = (code: string, pattern: RegExp) => (error: EcsError) => {
  assert.deepEqual([error.name, error.code], ['EcsError', code], error.message);
  assert.match(error.message, pattern);
  assert.doesNotMatch(error.message, /\n|s3cret/);
  return true;
};

test('requests to an http endpoint go through HTTP_PROXY, also without a scheme, as ECS documents it', async (t) => {
  const proxy = await startEcsEndpoint(t, ecsOf({ demo: 3 }));
  const HTTP_PROXY = proxy.url.replace('http://', '');
  assert.equal(await count(t, { AWS_ENDPOINT_URL_ECS: 'http://ecs.example', HTTP_PROXY }), 3);
  assert.equal(proxy.requests[0]?.headers.host, 'ecs.example');
});

test('hosts in NO_PROXY and this machine are asked without it', async (t) => {
  const proxy = await startEcsEndpoint(t, ecsOf({ demo: 3 }));
  const endpoint = await startEcsEndpoint(t, ecsOf({ demo: 2 }));
  assert.equal(await count(t, { AWS_ENDPOINT_URL_ECS: endpoint.url, HTTP_PROXY: proxy.url }), 2);
  // A domain stands for the hosts in it, with and without a dot.
  for (const NO_PROXY of ['169.254.169.254,.invalid', '169.254.169.254, invalid', 'ecs.invalid', '*']) {
    await assert.rejects(
      count(t, { AWS_ENDPOINT_URL_ECS: 'http://ecs.invalid', HTTP_PROXY: proxy.url, NO_PROXY }),
      refusedWith('NoAnswer', /unknown host|no connection/),
      NO_PROXY,
    );
  }
  assert.equal(proxy.requests.length, 0);
});

test('requests to AWS go through HTTPS_PROXY, and AWS_CA_BUNDLE is trusted', { timeout: 60_000 }, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-proxy-'));
  t.after(() => rm(dir, { recursive: true }));
  const [keyFile, certFile] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  const name = ['-subj', '/CN=ecs.example', '-addext', 'subjectAltName=DNS:ecs.example'];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await promisify(execFile)('openssl', ['req', '-x509', ...curve, '-keyout', keyFile, '-out', certFile, ...name]);

  const { answer } = await startEcsEndpoint(t, ecsOf({ demo: 4 }));
  const tls = { key: await readFile(keyFile), cert: await readFile(certFile) };
  const ecs = createTlsServer(tls, async (message, response) => {
    let text = '';
    for await (const chunk of message) text += chunk;
    const action = String(message.headers['x-amz-target']).replace(/^.*\./, '');
    response.end(JSON.stringify(answer({ action, input: JSON.parse(text), headers: message.headers })));
  });
  const ecsPort = await listen(t, ecs);
  const asked: [string | undefined, string | undefined][] = [];
  let isOpen = true;
  const proxy = createProxy().on('connect', ({ url, headers }, socket) => {
    asked.push([url, headers['proxy-authorization']]);
    if (!isOpen) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    const onward = connect(ecsPort, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    for (const end of [socket, onward])
      end.on('error', () => {}).on('close', () => [socket, onward].map((each) => each.destroy()));
    socket.pipe(onward).pipe(socket);
  });
  const HTTPS_PROXY = `http://operator:s3cret@127.0.0.1:${await listen(t, proxy)}`;
  const variables = { AWS_ENDPOINT_URL_ECS: 'https://ecs.example', HTTPS_PROXY };

  assert.equal(await count(t, { ...variables, AWS_CA_BUNDLE: certFile }), 4);
  assert.deepEqual(asked[0], ['ecs.example:443', `Basic ${Buffer.from('operator:s3cret').toString('base64')}`]);
  await assert.rejects(
    count(t, variables),
    refusedWith('NoAnswer', /is not trusted: self.signed certificate \(.*\); name its authority in AWS_CA_BUNDLE/),
  );
  isOpen = false;
  await assert.rejects(
    count(t, variables),
    refusedWith(
      'NoAnswer',
      /the proxy opens no connection to https:\/\/ecs\.example \(.*407.*\); check the proxy http:\/\/127\.0\.0\.1:\d+ \(HTTPS_PROXY\), or name ecs\.example in NO_PROXY$/,
    ),
  );
});

test('a proxy that is not there is named', async (t) => {
  const HTTPS_PROXY = 'http://operator:s3cret@127.0.0.1:9';
  await assert.rejects(
    count(t, { AWS_ENDPOINT_URL_ECS: 'https://ecs.example', HTTPS_PROXY }),
    refusedWith(
      'NoAnswer',
      /connection refused by https:\/\/ecs\.example, or the proxy on the way .*and the proxy http:\/\/127\.0\.0\.1:9 \(HTTPS_PROXY\)$/,
    ),
  );
});

test('a proxy that is no URL, and a bundle that cannot be read, are refused before a request', async (t) => {
  for (const [variables, code, pattern] of [
    [{ https_proxy: 'socks5://operator:s3cret@h' }, 'BadProxy', /^https_proxy is not the URL of an HTTP proxy; use /],
    [{ HTTP_PROXY: 'http://operator:s3cret@:x' }, 'BadProxy', /^HTTP_PROXY is not/],
    // Not encoded: Node fails on the first outside of any catch, and takes the second's beginning for a port.
    [{ HTTPS_PROXY: 'http://operator:s3cret100%zz@127.0.0.1:9' }, 'BadProxy', /%25 for a %/],
    [{ HTTPS_PROXY: 'http://operator:4711#s3cret@127.0.0.1:9' }, 'BadProxy', /%23 for a #/],
    [{ HTTPS_PROXY: 'http://operator:4711/s3cret@127.0.0.1:9' }, 'BadProxy', /^HTTPS_PROXY is not/],
    [{ AWS_CA_BUNDLE: '/etc/hostname' }, 'BadBundle', /^cannot read AWS_CA_BUNDLE \/etc\/hostname: /],
    [
      { AWS_CA_BUNDLE: '/nowhere/ca.pem' },
      'BadBundle',
      /^cannot read AWS_CA_BUNDLE \/nowhere\/ca\.pem: ENOENT.*; name a /,
    ],
    [{ AWS_CA_BUNDLE: '/dev' }, 'BadBundle', /^cannot read AWS_CA_BUNDLE \/dev: EISDIR/],
  ] as const) {
    await assert.rejects(
      count(t, { AWS_ENDPOINT_URL_ECS: 'https://ecs.example', ...variables }),
      refusedWith(code, pattern),
    );
  }
});

test('an authority in AWS_CA_BUNDLE takes the place of the usual ones, as for the aws CLI', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-bundle-'));
  t.after(() => rm(dir, { recursive: true }));
  const pem = rootCertificates[0] ?? '';
  await writeFile(join(dir, 'ca.pem'), pem);
  const { agents, proxy } = awsNetwork({ AWS_CA_BUNDLE: join(dir, 'ca.pem'), HTTPS_PROXY: '' });
  assert.deepEqual([String(agents.httpsAgent.ca), agents.httpAgent.ca, proxy], [pem, undefined, null]);
});
