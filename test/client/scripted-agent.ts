import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

/** What an agent answers at /v1/containerInstances for an empty roll. */
export const EMPTY_LIST = {
  containerInstances: [],
  revision: '7',
  ageMs: 12,
  stale: false,
  uncertainty: null,
  skipped: [],
  notes: [],
  next: null,
};

export interface ScriptedAgent {
  readonly url: string;
  /** Paths with their queries, in the order of the requests. */
  readonly asked: string[];
  /** Number of open connections. */
  connections(): Promise<number>;
}

/** A loopback server that answers the n-th request with the n-th of `answers`, and later ones with the last. */
export async function startScriptedAgent(t: TestContext, ...answers: RequestListener[]): Promise<ScriptedAgent> {
  const asked: string[] = [];
  const server = createServer((req, res) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)];
    asked.push(req.url ?? '');
    answer?.(req, res);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    connections: () =>
      new Promise((resolve, reject) =>
        server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
  };
}

export function json(status: number, body: unknown, headers: Record<string, string> = {}): RequestListener {
  return (_, res) => {
    res.writeHead(status, {
      'Content-Type': status === 200 ? 'application/json' : 'application/problem+json',
      ...headers,
    });
    res.end(JSON.stringify(body));
  };
}

/** An event stream with this text, which then stays open, ends, or is cut off. */
export function stream(text: string, then: 'stay' | 'end' | 'cut' = 'stay'): RequestListener {
  return (_, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.write(text);
    if (then === 'end') res.end();
    if (then === 'cut') setImmediate(() => res.destroy());
  };
}
