import assert from 'node:assert/strict';
import type { Http2ServerResponse } from 'node:http2';
import { it, type TestContext } from 'node:test';
import { openHttpPool } from '../../../src/lib/http-client.ts';
import { grpcCall } from '../../../src/store/etcd/grpc.ts';
import { startFakeHttp2 } from '../../support/etcd-impostors.ts';

const { signal } = new AbortController();
const framed = (message: string, flag = 0) => {
  const body = Buffer.from(message);
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
};

/** Calls a server that answers as `answer` does. @returns what it was asked, and the answer's message */
async function call(t: TestContext, answer: (response: Http2ServerResponse) => void, maxBytes = 1_000) {
  const asked: { headers: Record<string, unknown>; body: Buffer }[] = [];
  const server = await startFakeHttp2(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    asked.push({ headers: { ...request.headers }, body: Buffer.concat(chunks) });
    answer(response);
  });
  const pool = openHttpPool(server.url, { connections: 1, connectTimeoutMs: 2_000, http2: true });
  t.after(async () => {
    await pool.destroy();
    await server.close();
  });
  const ask = () => grpcCall(pool, '/svc/Method', { authorization: 'tok' }, Buffer.from('ask'), maxBytes, signal);
  return { asked, ask };
}

const end = (response: Http2ServerResponse, status: string, body: Buffer | string = '', message = '') => {
  response.writeHead(200, { 'content-type': 'application/grpc' });
  response.addTrailers({ 'grpc-status': status, 'grpc-message': message });
  response.end(body);
};

it('carries one message each way, as gRPC frames it', async (t) => {
  const { asked, ask } = await call(t, (response) => end(response, '0', framed('answer')));
  assert.equal(String(await ask()), 'answer');
  assert.equal(String(await ask()), 'answer', 'over the same connection');
  assert.deepEqual(asked[0]?.body, framed('ask'));
  const { [':method']: method, [':path']: path, te, authorization, 'content-type': type } = asked[0]?.headers ?? {};
  assert.deepEqual(
    [method, path, te, authorization, type],
    ['POST', '/svc/Method', 'trailers', 'tok', 'application/grpc'],
  );
});

it('is a refusal with the code and words of the server, after a body or in place of one', async (t) => {
  const expected = { name: 'GatewayRefusal', code: 11, message: 'etcdserver: 100% gone' };
  const trailing = await call(t, (response) => end(response, '11', '', 'etcdserver: 100%25 gone'));
  await assert.rejects(trailing.ask(), expected);
  const alone = await call(t, (response) => {
    response.writeHead(200, { 'grpc-status': '11', 'grpc-message': 'etcdserver: 100% gone' });
    response.end();
  });
  await assert.rejects(alone.ask(), expected, 'not encoded, and taken as it is');
});

it('is junk where no gRPC server answered', async (t) => {
  for (const answer of [
    (response: Http2ServerResponse) => response.writeHead(200).end('<html>'),
    (response: Http2ServerResponse) => response.writeHead(404, { 'grpc-status': '0' }).end('<html>'),
    (response: Http2ServerResponse) => end(response, '0'),
    (response: Http2ServerResponse) => end(response, '0', framed('answer').subarray(0, 8)),
    (response: Http2ServerResponse) => end(response, '0', Buffer.concat([framed('answer'), framed('more')])),
    (response: Http2ServerResponse) => end(response, '0', framed('answer', 1)),
  ]) {
    const { ask } = await call(t, answer);
    await assert.rejects(ask(), { name: 'JunkAnswerError' });
  }
});

it('reads no more than it may, and leaves the connection good for the next call', async (t) => {
  const sizes = [2_000_000, 10];
  const { ask } = await call(t, (response) => end(response, '0', framed('x'.repeat(sizes.shift() ?? 0))));
  await assert.rejects(ask(), { name: 'BodyTooLargeError' });
  assert.equal((await ask()).length, 10);
});
