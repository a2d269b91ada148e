import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { TestContext } from 'node:test';
import type { Routes } from '../../src/http/reply.ts';
import { type HttpServerOptions, startHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';

/** What the tests serve, but for those that bring their own routes. */
export const ROUTES: Routes = {
  '/hello': () => ({ status: 200, contentType: 'text/plain', body: 'hello' }),
  '/things/:id': ({ params }) => ({ status: 200, contentType: 'text/plain', body: `thing ${params['id']}` }),
  '/broken': () => {
    throw new Error('the secret cause');
  },
};

/** A server of its own port, closed after the test. */
export async function startServer(t: TestContext, options: Partial<HttpServerOptions> = {}) {
  const errors: unknown[] = [];
  const server = await startHttpServer({
    listen: { host: '127.0.0.1', port: 0 },
    routes: ROUTES,
    clock: systemClock,
    onError: (error) => errors.push(error),
    ...options,
  });
  t.after(() => server.close());
  return { ...server, errors };
}

export async function ask(url: string, options: RequestOptions = {}, body = '') {
  const req = request(url, { agent: false, ...options });
  req.end(body);
  const [res] = (await once(req, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of res) text += chunk;
  return { status: res.statusCode, headers: res.headers, text };
}

export async function assertProblem(
  answer: Awaited<ReturnType<typeof ask>>,
  status: number,
  detail: RegExp,
  instance?: string,
) {
  assert.equal(answer.status, status);
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  const problem = JSON.parse(answer.text);
  assert.equal(problem.status, status);
  assert.equal(problem.type, 'about:blank');
  assert.equal(typeof problem.title, 'string');
  assert.match(problem.detail, detail);
  assert.equal(problem.instance, instance);
}
