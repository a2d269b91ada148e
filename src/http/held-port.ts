import { readFile } from 'node:fs/promises';
import { RollcallError } from '../lib/errors.ts';

/** Another socket has the port: one that listens, or an outgoing connection. */
export class PortInUseError extends RollcallError {}

/** Of this host, or of its network namespace, IPv4 and IPv6. Source: proc_net_tcp.rst of the kernel. */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];

/** The state TCP_LISTEN. */
const LISTENING = '0A';

/**
 * Whether a program listens on TCP port `port`. If none does and the port is in use all the same, an outgoing connection has
 * it: Linux takes their ports from 32768 to 60999, and keeps one for up to 60 s after the connection has ended.
 * @returns true, too, where there is no such table to read
 */
export async function isListenedOn(
  port: number,
  readTable = (path: string) => readFile(path, 'latin1'),
): Promise<boolean> {
  const local = new RegExp(
    `^\\s*\\d+: [0-9A-F]+:${port.toString(16).toUpperCase().padStart(4, '0')} \\S+ ${LISTENING} `,
    'm',
  );
  const tables = await Promise.all(TABLES.map((path) => readTable(path).catch(() => null)));
  if (tables.every((table) => table === null)) return true;
  return tables.some((table) => table !== null && local.test(table));
}
