import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

/** A connection from this host to this host; Linux chose its local port. It keeps no test process alive. */
export async function outgoingConnection(t: TestContext): Promise<Socket> {
  const server = createServer((socket) => socket.on('error', () => {}).unref())
    .listen(0, '127.0.0.1')
    .unref();
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => {
    client.destroy();
    server.close();
  });
  await once(client, 'connect');
  return client.unref();
}
