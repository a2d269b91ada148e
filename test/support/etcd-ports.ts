import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below the ports that Linux gives to outgoing connections, and to a program that asks for any (32768 and up): what is
 * closed here and opened again soon is not taken in between.
 */
const FIRST = 23_000;
const COUNT = 9_000;
/** Each process begins in another place: those that run at the same time have neighbouring ids. */
const SLICE = 30;

let given = (process.pid * SLICE) % COUNT;

/** Loopback ports that are free now. All are held until the last is known, so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = [];
  for (let tries = 0; servers.length < count; tries += 1) {
    if (tries > COUNT) throw new Error(`no ${count} free ports among ${FIRST} to ${FIRST + COUNT - 1}`);
    given = (given + 1) % COUNT;
    const server = createServer().listen(FIRST + given, '127.0.0.1');
    const port = FIRST + given;
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (isFree) servers.push({ server, port });
  }
  await Promise.all(servers.map(({ server }) => new Promise((resolve) => server.close(resolve))));
  return servers.map(({ port }) => port);
}
