import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import type { Clock } from '../../src/lib/clock.ts';
import { describeError } from '../../src/lib/errors.ts';
import { createImdsClient, type ImdsClient } from '../../src/sources/imds.ts';
import { SourceError } from '../../src/sources/source-error.ts';
import { until } from '../support/machine-time.ts';
import { scaledClock } from '../support/scaled-clock.ts';
import { shiftedClock } from './shifted-clock.ts';
import { simulateNode } from './simulate-node.ts';
import { startRawServer } from './start-raw-server.ts';

const { signal } = new AbortController();
const TOKEN_PATH = '/latest/api/token';
const ID = 'meta-data/instance-id';

/** Stretches each second to four, so that a slow test machine does not look like a service that hangs. */
const slowClock = scaledClock(0.25);

function openClient(
  t: TestContext,
  endpoint: string,
  options: { allowV1?: boolean; timeoutMs?: number; clock?: Clock } = {},
): ImdsClient {
  // The time for a connection is not the clock's: a busy machine may take long.
  const client = createImdsClient({ endpoint, clock: slowClock, allowV1: false, timeoutMs: 20_000, ...options });
  t.after(() => client.close());
  return client;
}

/** A v2-only service with numbered tokens. It accepts only those in `good`. */
async function startTokenServer(
  t: TestContext,
  onToken: (res: ServerResponse, number: number) => void = (res, number) => res.end(`TOKEN-${number}`),
) {
  const good = new Set<string>();
  let issued = 0;
  const server = await startRawServer(t, (req: IncomingMessage, res) => {
    if (req.url === TOKEN_PATH) {
      issued += 1;
      good.add(`TOKEN-${issued}`);
      onToken(res, issued);
      return;
    }
    if (!good.has(String(req.headers['x-aws-ec2-metadata-token']))) res.writeHead(401).end('unauthorized');
    else res.end('i-0123456789abcdef0');
  });
  return { ...server, good, issued: () => issued };
}

const failure = async (work: Promise<unknown>): Promise<SourceError> => {
  const error = await work.then(
    (value) => assert.fail(`expected an error, got ${value}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof SourceError, String(error));
  assert.equal(error.retryable, true);
  return error;
};

test('one token serves many reads, also concurrent ones', async (t) => {
  const server = await startTokenServer(t);
  const client = openClient(t, server.endpoint);
  await Promise.all(Array.from({ length: 8 }, () => client.get(ID, signal)));
  assert.equal(await client.get(ID, signal), 'i-0123456789abcdef0');
  assert.equal(server.issued(), 1);
  assert.equal(server.requests.length, 10);
});

test('the token is requested for six hours and renewed before it expires, while the old one is still used', async (t) => {
  const clock = shiftedClock();
  let askedFor: unknown;
  const server = await startRawServer(t, (req, res) => {
    if (req.url !== TOKEN_PATH) return res.end('x');
    askedFor = req.headers['x-aws-ec2-metadata-token-ttl-seconds'];
    return res.writeHead(200, { 'x-aws-ec2-metadata-token-ttl-seconds': '21600' }).end('TOKEN');
  });
  const client = openClient(t, server.endpoint, { clock });
  const tokens = () => server.requests.filter((one) => one === `PUT ${TOKEN_PATH}`).length;
  await client.get(ID, signal);
  assert.equal(askedFor, '21600');
  clock.advance(17_900_000);
  await client.get(ID, signal);
  assert.equal(tokens(), 1);
  clock.advance(101_000);
  await client.get(ID, signal);
  await until('the renewal', 20_000, () => tokens() === 2);
  await client.get(ID, signal);
  assert.equal(tokens(), 2);
});

test('a shorter TTL in the answer’s header is respected', async (t) => {
  const clock = shiftedClock();
  const server = await startTokenServer(t, (res, number) =>
    res.writeHead(200, { 'x-aws-ec2-metadata-token-ttl-seconds': '60' }).end(`TOKEN-${number}`),
  );
  const client = openClient(t, server.endpoint, { clock });
  await client.get(ID, signal);
  clock.advance(61_000);
  server.good.clear();
  await client.get(ID, signal);
  assert.equal(server.issued(), 2);
  assert.equal(server.requests.filter((one) => one.startsWith('GET')).length, 2);
});

test('a failed renewal does not fail a read while the old token is valid', async (t) => {
  const clock = shiftedClock();
  const server = await startTokenServer(t, (res, number) =>
    number === 1 ? res.end('TOKEN-1') : res.writeHead(500).end(),
  );
  const client = openClient(t, server.endpoint, { clock });
  await client.get(ID, signal);
  clock.advance(18_100_000);
  assert.equal(await client.get(ID, signal), 'i-0123456789abcdef0');
  await until('the renewal', 20_000, () => server.issued() === 2);
  assert.equal(await client.get(ID, signal), 'i-0123456789abcdef0');
  clock.advance(3_600_000);
  assert.match((await failure(client.get(ID, signal))).message, /^IMDS token: HTTP 500$/);
});

test('a token that IMDS refuses early (401) is replaced and the read continues', async (t) => {
  const server = await startTokenServer(t);
  const client = openClient(t, server.endpoint);
  await client.get(ID, signal);
  server.good.clear();
  const answers = await Promise.all([client.get(ID, signal), client.get(ID, signal), client.get(ID, signal)]);
  assert.deepEqual(new Set(answers), new Set(['i-0123456789abcdef0']));
  assert.equal(server.issued(), 2);
});

test('401 with a fresh token is an error, not a loop', async (t) => {
  const server = await startTokenServer(t);
  server.good.add = () => server.good;
  const client = openClient(t, server.endpoint);
  assert.equal((await failure(client.get(ID, signal))).message, `IMDS ${ID}: HTTP 401`);
  assert.deepEqual(
    server.requests.map((one) => one.split(' ')[0]),
    ['PUT', 'GET', 'PUT', 'GET'],
  );
});

test('a leaf that does not apply (404) is null, not a failure', async (t) => {
  const client = openClient(t, (await simulateNode(t)).imdsEndpoint);
  assert.equal(await client.get('meta-data/public-ipv4', signal), null);
});

test('a token request that times out names the hop limit and the fix, also with a shorter deadline of the read', async (t) => {
  const server = await startRawServer(t, () => {});
  for (const timeoutMs of [undefined, 40]) {
    const client = openClient(t, server.endpoint, { timeoutMs: 1_000, allowV1: true, clock: scaledClock(1) });
    const error = await failure(client.get(ID, signal, timeoutMs));
    assert.equal(
      error.message,
      `IMDS token at ${server.hostPort}: no answer within ${timeoutMs ?? 900} ms; in a bridged container a hop limit of 1 drops the answer: run with --net=host or set the hop limit to 2`,
    );
    assert.equal(error.unreachable, true);
  }
  assert.deepEqual(new Set(server.requests), new Set([`PUT ${TOKEN_PATH}`]), 'a silent service never leads to IMDSv1');
});

test('a leaf that times out is named, and the error does not blame the token', async (t) => {
  const server = await startRawServer(t, (req, res) => {
    if (req.url === TOKEN_PATH) res.end('TOKEN');
  });
  const client = openClient(t, server.endpoint);
  const error = await failure(client.get(ID, signal, 60));
  assert.equal(error.message, `IMDS ${ID} at ${server.hostPort}: no answer within 60 ms`);
  assert.equal(error.unreachable, false);
});

test('a read that times out does not abort the shared token request', async (t) => {
  let release: (() => void) | undefined;
  const server = await startTokenServer(t, (res, number) => {
    release = () => res.end(`TOKEN-${number}`);
  });
  const client = openClient(t, server.endpoint);
  const early = failure(client.get(ID, signal, 30));
  const patient = client.get(ID, signal);
  await early;
  release?.();
  assert.equal(await patient, 'i-0123456789abcdef0');
  assert.equal(server.issued(), 1);
});

test('IMDSv1 is used only if the service answers that it has no v2, and only if allowed', async (t) => {
  for (const status of [403, 404, 405, 501]) {
    const server = await startRawServer(t, (req, res) => {
      if (req.method === 'PUT') res.writeHead(status).end();
      else res.end(req.headers['x-aws-ec2-metadata-token'] === undefined ? 'without token' : 'with token');
    });
    const allowed = openClient(t, server.endpoint, { allowV1: true });
    assert.equal(await allowed.get(ID, signal), 'without token');
    assert.equal(await allowed.get(ID, signal), 'without token');
    assert.equal(server.requests.filter((one) => one.startsWith('PUT')).length, 1);
    const refused = await failure(openClient(t, server.endpoint).get(ID, signal));
    assert.match(
      refused.message,
      new RegExp(`^IMDS token: HTTP ${status}: IMDSv2 is not available and IMDSv1 is not allowed`),
    );
  }
});

test('400, 401, 429, 500 and 503 for the token are failures even if IMDSv1 is allowed', async (t) => {
  for (const status of [400, 401, 429, 500, 503]) {
    const server = await startRawServer(t, (req, res) => res.writeHead(req.method === 'PUT' ? status : 200).end('x'));
    const error = await failure(openClient(t, server.endpoint, { allowV1: true }).get(ID, signal));
    assert.equal(error.message, `IMDS token: HTTP ${status}`);
    assert.equal(server.requests.length, 1);
  }
});

test('a service that changes from v1 to v2-only gets v2 requests', async (t) => {
  let v2 = false;
  const server = await startRawServer(t, (req, res) => {
    if (req.method === 'PUT') return v2 ? res.end('TOKEN') : res.writeHead(404).end();
    return v2 && req.headers['x-aws-ec2-metadata-token'] !== 'TOKEN' ? res.writeHead(401).end() : res.end('ok');
  });
  const client = openClient(t, server.endpoint, { allowV1: true });
  await client.get(ID, signal);
  v2 = true;
  assert.equal(await client.get(ID, signal), 'ok');
});

test('an HTML page with status 200 is not used as a token', async (t) => {
  const server = await startRawServer(t, (_req, res) => res.end('<html><body>Sign in</body></html>'));
  const error = await failure(openClient(t, server.endpoint).get(ID, signal));
  assert.match(error.message, /^IMDS token: the answer is not a token/);
  assert.equal(server.requests.length, 1);
});

test('no error contains the token, even if a proxy echoes the request headers', async (t) => {
  const secret = 'AQAEAsecretsecretsecret==';
  let leaf: (req: IncomingMessage, res: ServerResponse) => void = () => {};
  const server = await startRawServer(t, (req, res) => (req.url === TOKEN_PATH ? res.end(secret) : leaf(req, res)));
  const client = openClient(t, server.endpoint, { timeoutMs: 200 });
  const leaves: (typeof leaf)[] = [
    (req, res) => res.end(JSON.stringify(req.headers)),
    (req, res) => res.writeHead(500).end(JSON.stringify(req.headers)),
    (req, res) => res.writeHead(401).end(JSON.stringify(req.headers)),
    (_req, res) => res.destroy(),
    () => {},
  ];
  for (leaf of leaves) {
    const error = await failure(client.get(ID, signal));
    assert.ok(!`${describeError(error)} ${error.stack} ${String(error.cause)}`.includes('secret'), error.stack);
  }
});

test('a body shorter than its content-length is an error', async (t) => {
  const server = await startRawServer(t, (req, res) => {
    if (req.url === TOKEN_PATH) return res.end('TOKEN');
    res.writeHead(200, { 'content-length': '19' });
    return res.write('i-01234567', () => res.destroy());
  });
  const error = await failure(openClient(t, server.endpoint).get(ID, signal));
  assert.match(describeError(error), new RegExp(`^IMDS ${ID} at ${server.hostPort}: `));
});

test('a body over 64 kB is an error and is not read to its end', async (t) => {
  let written = 0;
  const server = await startRawServer(t, (req, res) => {
    if (req.url === TOKEN_PATH) return res.end('TOKEN');
    const more = () => {
      while (!res.destroyed && written < 64_000_000) {
        written += 65_536;
        if (!res.write(Buffer.alloc(65_536, 32))) return void res.once('drain', more);
      }
    };
    return more();
  });
  const error = await failure(openClient(t, server.endpoint).get(ID, signal));
  assert.match(describeError(error), /larger than 65536 bytes/);
  assert.ok(written < 64_000_000, 'the connection was closed long before the end');
});

test('a refused connection names the address', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  const error = await failure(openClient(t, `http://127.0.0.1:${port}`).get(ID, signal));
  assert.equal(error.message, `connection refused at 127.0.0.1:${port}: no EC2 metadata service listens there`);
  assert.equal(error.unreachable, true);
});

test("an abort ends the read with the signal's own reason", async (t) => {
  const server = await startRawServer(t, () => {});
  const controller = new AbortController();
  const read = openClient(t, server.endpoint).get(ID, controller.signal);
  const reason = new Error('stopping');
  controller.abort(reason);
  await assert.rejects(read, (error) => error === reason);
});

test('close ends reads in progress and refuses later ones', async (t) => {
  const server = await startRawServer(t, () => {});
  const client = openClient(t, server.endpoint, { timeoutMs: 60_000 });
  const read = failure(client.get(ID, signal));
  await until('the request', 20_000, () => server.requests.length > 0);
  await client.close();
  await read;
  assert.match((await failure(client.get(ID, signal))).message, /the client is closed$/);
});

test('the clock of the host is compared with the Date of each answer that has one', async (t) => {
  let date: string | null = null;
  const server = await startRawServer(t, (req, res) => {
    res.sendDate = false;
    if (date !== null) res.setHeader('Date', date);
    res.end(req.url === TOKEN_PATH ? 'TOKEN' : 'i-0123456789abcdef0');
  });
  const wallMs = () => Date.parse('2026-01-01T12:00:00Z');
  const client = openClient(t, server.endpoint, { clock: { ...slowClock, wallMs } });
  const after = async (answered: string | null) => {
    date = answered;
    await client.get(ID, signal);
    return client.clockSkewMs();
  };
  assert.equal(await after(null), null);
  assert.equal(await after('Thu, 01 Jan 2026 11:00:00 GMT'), 3_600_000);
  assert.equal(await after('Thu, 01 Jan 2026 12:01:00 GMT'), -60_000);
  assert.equal(await after('soon'), -60_000);
});
