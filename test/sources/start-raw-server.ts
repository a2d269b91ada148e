import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export interface RawServer {
  readonly endpoint: string;
  readonly hostPort: string;
  /** `METHOD /path` of each request, in order. */
  readonly requests: string[];
}

/** A loopback server with the test's own handler. It and its connections close when the test ends. */
export async function startRawServer(
  t: TestContext,
  handle: (req: IncomingMessage, res: ServerResponse) => void,
): Promise<RawServer> {
  const requests: string[] = [];
  const server = createServer((req, res) => {
    requests.push(`${req.method} ${req.url}`);
    handle(req, res);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  const hostPort = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { endpoint: `http://${hostPort}`, hostPort, requests };
}
